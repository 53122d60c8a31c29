//! The option `--draw KIND=FILE` of every command that draws: which picture, of what, into which file, in which form.
//!
//! A command declares the kinds that it can draw and makes the charts; nothing here knows what is in them.

use super::output::Names;
use super::{Failure, note, write_whole};
use crate::policy::hint::{listed, nearest};
use crate::report::chart::{Chart, Format, Incomplete};
use std::path::{Path, PathBuf};

/// The option itself, to be flattened into a command's arguments.
#[derive(clap::Args, Debug, Default)]
#[group(id = "draw-options")]
pub struct Options {
    /// Draw a picture; the file's ending says how: .svg, .png, or .csv for the numbers in it. May be repeated
    #[arg(long = "draw", value_name = "KIND=FILE")]
    draw: Vec<String>,
}

/// A kind of picture that a command can draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What may stand behind a colon to say of what, such as `STREAM`; nothing where there is no choice.
    pub of: Option<&'static str>,
}

/// One picture that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draw {
    /// The name of its kind.
    pub kind: &'static str,
    /// Of what, where that was said.
    pub of: Option<String>,
    /// Where it goes.
    pub file: PathBuf,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Picture(Format),
    Csv,
}

impl Form {
    /// The form that the ending of a file's name asks for.
    fn of(file: &Path) -> Result<Form, Failure> {
        let name = file.to_string_lossy();
        if file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
            return Ok(Form::Csv);
        }
        let form = Format::of(&name).map_err(|_| Failure(format!("--draw '{name}': the file's name ends in .svg, .png or .csv")))?;
        if form == Format::Png && !cfg!(feature = "png") {
            return Err(Failure(format!("--draw '{name}': this program was built without PNG; ask for .svg")));
        }
        Ok(Form::Picture(form))
    }
}

impl Options {
    /// Whether any picture was asked for.
    pub fn is_empty(&self) -> bool {
        self.draw.is_empty()
    }

    /// Adds the files to those that a command writes.
    ///
    /// # Errors
    /// That one of them is named twice.
    pub fn name(draws: &[Draw], names: &mut Names) -> Result<(), Failure> {
        draws.iter().try_for_each(|draw| names.write(&format!("--draw {}", draw.kind), &draw.file))
    }

    /// The pictures that were asked for, of the kinds that the command can draw. To be called before the work begins: a mistake is
    /// told at once.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn wanted(&self, kinds: &[Kind]) -> Result<Vec<Draw>, Failure> {
        let mut all: Vec<Draw> = Vec::with_capacity(self.draw.len());
        for text in &self.draw {
            let draw = parse(text, kinds)?;
            if all.iter().any(|other| other.file == draw.file) {
                return Err(Failure(format!("--draw: two pictures into one file, {}", draw.file.display())));
            }
            all.push(draw);
        }
        Ok(all)
    }
}

fn parse(text: &str, kinds: &[Kind]) -> Result<Draw, Failure> {
    let names: Vec<String> = kinds.iter().map(|kind| kind.of.map_or(kind.name.to_owned(), |of| format!("{}:{of}", kind.name))).collect();
    let draws = || format!("this command draws {}", listed(names.iter().map(String::as_str)));
    let Some((what, file)) = text.split_once('=').filter(|(_, file)| !file.is_empty()) else {
        return Err(Failure(format!("--draw '{text}': expected KIND=FILE; {}", draws())));
    };
    let (name, of) = what.split_once(':').map_or((what, None), |(name, of)| (name, Some(of)));
    let Some(kind) = kinds.iter().find(|kind| kind.name == name) else {
        let meant = nearest(name, kinds.iter().map(|kind| kind.name)).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
        return Err(Failure(format!("--draw: there is no picture '{name}'{meant}; {}", draws())));
    };
    match (of, kind.of) {
        (Some(_), None) => return Err(Failure(format!("--draw '{what}': {name} takes nothing behind it"))),
        (Some(""), Some(of)) => return Err(Failure(format!("--draw '{what}': expected {name}:{of}"))),
        _ => {}
    }
    let file = PathBuf::from(file);
    Ok(Draw { kind: kind.name, of: of.map(ToOwned::to_owned), form: Form::of(&file)?, file })
}

impl Draw {
    /// A picture as SVG, whatever the file's name ends in.
    pub fn svg(kind: &'static str, file: &Path) -> Draw {
        Draw { kind, of: None, file: file.to_path_buf(), form: Form::Picture(Format::Svg) }
    }

    /// Writes the picture, or its numbers; one of what was interrupted says so.
    ///
    /// # Errors
    /// That it cannot be drawn or written, and why.
    pub fn write(&self, chart: &dyn Chart, interrupted: bool) -> Result<(), Failure> {
        self.write_to(chart, &self.file, interrupted)
    }

    /// The same into a file of another name, for a command that draws one picture for each of several runs.
    ///
    /// # Errors
    /// That it cannot be drawn or written, and why.
    pub fn write_to(&self, chart: &dyn Chart, file: &Path, interrupted: bool) -> Result<(), Failure> {
        match self.form {
            Form::Picture(format) if interrupted => write_whole(file, &Incomplete(chart).draw(format)?),
            Form::Picture(format) => write_whole(file, &chart.draw(format)?),
            Form::Csv => {
                if interrupted {
                    // Rows have no place for it.
                    note(&format!("{}: interrupted; it holds what was known by then", file.display()));
                }
                write_whole(file, chart.csv().as_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 2] = [Kind { name: "survival", of: None }, Kind { name: "lanes", of: Some("STREAM") }];

    #[test]
    fn a_picture_has_a_kind_a_file_and_a_form() {
        let draw = parse("lanes:tcp.3=a=b.CSV", &KINDS).expect("well written");
        assert_eq!((draw.kind, draw.of.as_deref(), draw.form), ("lanes", Some("tcp.3"), Form::Csv));
        assert_eq!(draw.file, PathBuf::from("a=b.CSV"));
        assert_eq!(parse("survival=x.svg", &KINDS).expect("well written").form, Form::Picture(Format::Svg));
    }

    #[test]
    fn mistakes_are_told_with_what_would_be_right() {
        for (text, told) in [
            ("survial=x.svg", "there is no picture 'survial' (did you mean survival?); this command draws survival or lanes:STREAM"),
            ("survival", "expected KIND=FILE"),
            ("survival=", "expected KIND=FILE"),
            ("survival:3=x.svg", "survival takes nothing behind it"),
            ("lanes:=x.svg", "expected lanes:STREAM"),
            ("lanes=x.jpg", "ends in .svg, .png or .csv"),
        ] {
            let Err(Failure(error)) = parse(text, &KINDS) else { unreachable!("{text} is wrong") };
            assert!(error.contains(told) && error.lines().count() == 1, "{text}: {error}");
        }
        let twice = Options { draw: vec!["survival=x.svg".to_owned(), "lanes=x.svg".to_owned()] };
        assert!(twice.wanted(&KINDS).is_err_and(|Failure(error)| error.contains("two pictures into one file")));
    }
}
