//! `reference` (hidden): the reference pages that are made from this program itself.

use clap::{Arg, Command, CommandFactory};

use crate::{cli::Cli, exit, exit::Exit, failure::Outcome, output::print};

/// Print a page of the reference documentation.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which page
    #[arg(value_enum)]
    page: Page,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Page {
    /// Every verb and flag.
    Cli,
    /// Every exit code.
    ExitCodes,
}

pub(crate) fn run(args: &Args) -> Outcome {
    print(&match args.page {
        Page::Cli => cli(),
        Page::ExitCodes => exit::reference(),
    })?;
    Ok(Exit::Done)
}

fn cli() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = String::from(
        "# The `lockstep` program\n\n\
         Generated from the program's own help; `UPDATE=1 cargo test -p lockstep-cli --test it \
         reference`\nwrites it anew. Exit codes: [exit-codes.md](exit-codes.md).\n\n",
    );
    let verbs: Vec<&Command> = visible(&root).collect();
    for verb in &verbs {
        let anchor = format!("lockstep-{}", verb.get_name());
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        page.push_str(&format!("- [`{}`](#{anchor}): {about}\n", verb.get_name()));
    }
    page.push_str("\n## Flags of every verb\n\n");
    let shared: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).collect();
    page.push_str(&table(shared.into_iter()));
    page.push_str("\n## Connecting to NATS\n\nEvery verb that talks to NATS takes these.\n\n");
    if let Some(status) = root.find_subcommand("status") {
        page.push_str(&table(status.get_arguments().filter(|arg| is_connection(arg))));
    }
    page.push_str(&format!("\n```text\n{}\n```\n", lockstep_bus::settings::ENVIRONMENT_HELP));
    for verb in verbs {
        describe(verb, "lockstep", 2, &mut page);
    }
    page
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

fn is_connection(arg: &Arg) -> bool {
    arg.get_help_heading() == Some("NATS")
}

fn describe(command: &Command, path: &str, depth: usize, page: &mut String) {
    let path = format!("{path} {}", command.get_name());
    page.push_str(&format!("\n{} `{path}`\n\n", "#".repeat(depth)));
    let about = command.get_long_about().or(command.get_about());
    page.push_str(&format!("{}\n", about.map(ToString::to_string).unwrap_or_default()));
    let usage = command.clone().render_usage().to_string();
    page.push_str(&format!("\n```text\n{usage}\n```\n"));
    let own = |arg: &&Arg| !arg.is_global_set() && !is_connection(arg) && !arg.is_hide_set();
    let own: Vec<&Arg> = command.get_arguments().filter(own).filter(|arg| is_ours(arg)).collect();
    if !own.is_empty() {
        page.push_str(&format!("\n{}", table(own.into_iter())));
    }
    for sub in visible(command) {
        describe(sub, &path, depth + 1, page);
    }
}

fn is_ours(arg: &Arg) -> bool {
    !matches!(arg.get_id().as_str(), "help" | "version" | "color")
}

fn table<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let mut text = String::from("| | |\n|---|---|\n");
    for arg in args.filter(|arg| is_ours(arg) || arg.get_id() == "color") {
        text.push_str(&format!("| `{}` | {} |\n", spelling(arg), explanation(arg)));
    }
    text
}

fn spelling(arg: &Arg) -> String {
    let name = arg.get_value_names().and_then(|names| names.first());
    let name = name.map_or_else(|| arg.get_id().to_string().to_uppercase(), ToString::to_string);
    if arg.is_positional() {
        return if arg.is_required_set() { name } else { format!("[{name}]") };
    }
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let long = arg.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let value = if arg.get_action().takes_values() { format!(" {name}") } else { String::new() };
    format!("{short}{long}{value}")
}

fn explanation(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = help.replace('\n', " ").replace('|', "\\|");
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && arg.get_action().takes_values())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        text.push_str(&format!(" ({})", values.join(", ")));
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .filter(|value| arg.get_action().takes_values() && !value.is_empty())
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() {
        text.push_str(&format!(" Default: {}.", defaults.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        text.push_str(&format!(" Environment: `{}`.", variable.to_string_lossy()));
    }
    text
}
