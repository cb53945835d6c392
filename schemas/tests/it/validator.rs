//! An independent validator over the generated schemas.

use boon::{Compiler, SchemaIndex, Schemas};
use schemas::record_schemas::record_schemas;
use serde_json::Value;

pub(crate) struct Validator {
    compiled: Schemas,
    index: SchemaIndex,
}

impl Validator {
    /// Compiles the schema of one of the files.
    pub(crate) fn of(file: &str) -> Self {
        let (_, schema) = record_schemas()
            .into_iter()
            .find(|(name, _)| *name == file)
            .unwrap();
        let mut compiled = Schemas::new();
        let mut compiler = Compiler::new();
        let location = format!("https://schemas.invalid/{file}");
        compiler.add_resource(&location, schema).unwrap();
        let index = compiler.compile(&location, &mut compiled).unwrap();
        Self { compiled, index }
    }

    /// Tells what is wrong with a record.
    pub(crate) fn check(&self, record: &Value) -> Result<(), String> {
        self.compiled
            .validate(record, self.index)
            .map_err(|error| error.to_string())
    }
}
