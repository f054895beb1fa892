//! `schema`: the JSON Schema of a file.

use crate::{
    exit::Exit,
    failure::{OrExit, Outcome},
    output::print,
};

/// Print the JSON Schema of the pipeline file, for editors and other checkers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of which file
    #[arg(value_enum, default_value_t)]
    of: Of,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Of {
    /// The pipeline file.
    #[default]
    Pipeline,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let schema = match args.of {
        Of::Pipeline => lockstep_shared::schema::pipeline_schema(),
    };
    let text = serde_json::to_string_pretty(&schema)
        .or_exit(Exit::Internal, "cannot write the schema as JSON")?;
    print(&(text + "\n"))?;
    Ok(Exit::Done)
}
