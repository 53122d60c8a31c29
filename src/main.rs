//! The program: everything is in the library, behind the feature `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    flowlapse::cli::main()
}
