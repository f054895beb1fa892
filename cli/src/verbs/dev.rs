//! being written
/// x
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
pub(crate) async fn run(_: Args, _: crate::context::Context) -> crate::failure::Outcome {
    Ok(crate::exit::Exit::Done)
}
