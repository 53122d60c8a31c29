//! The JSON Schema of scenarios, made from the types; the settings of boxes come from the tables that read them.

use super::Scenario;
use crate::policy::{self, ConntrackPolicy, IdlePolicy, IpvsPolicy, Settings};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

/// The schema as a document.
pub fn document() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Scenario>().to_value();
    if let Value::Object(map) = &mut schema {
        map.insert("title".to_owned(), json!("flowlapse scenario"));
    }
    schema
}

fn settings<P: Settings>() -> Value {
    let mut properties = Map::new();
    for key in P::keys() {
        let entry = json!({ "description": format!("{}.", key.takes), "type": ["string", "number", "boolean", "null"] });
        properties.insert(key.name.to_owned(), entry);
    }
    json!({
        "description": format!("The settings of {}; every setting may also be named as the kernel or its tools name it.", P::KIND),
        "anyOf": [{ "type": "object", "properties": properties }, { "type": "string" }]
    })
}

/// The boxes of a path.
pub(crate) fn path(_: &mut SchemaGenerator) -> Schema {
    let presets: Vec<&str> = policy::presets::all().iter().map(|preset| preset.id.as_str()).collect();
    let label = json!({ "type": "string", "description": "The name by which reports call the box." });
    json_schema!({
        "description": "The boxes between client and server, from the client on.",
        "type": "array",
        "items": {
            "anyOf": [
                { "type": "string", "description": "The short form, as --box takes it: a kind or a preset, then settings; or @ and the name of a file with boxes, as seen from this file.", "examples": ["ipvs:nat,tcp=900,tcpfin=120", "conntrack:strict,established=3600", "aws-nlb", "@../sysctl.d/90-conntrack.conf"] },
                {
                    "type": "object",
                    "properties": { "label": label, "conntrack": settings::<ConntrackPolicy>(), "ipvs": settings::<IpvsPolicy>(), "idle": settings::<IdlePolicy>() },
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": { "label": label, "preset": { "enum": presets } },
                    "required": ["preset"]
                }
            ]
        }
    })
}

/// A merge patch of a scenario.
pub(super) fn patch(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "description": "What is changed: a JSON merge patch (RFC 7386) of the scenario.", "type": "object" })
}
