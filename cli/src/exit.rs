//! Exit codes: one table for every program, and how a run's end maps to it.
//!
//! The reference page is rendered from this table, so it cannot say anything else.

use std::process::ExitCode;

use lockstep_shared::record::RunResult;

/// How a program ended, for the shell that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// A defect of Lockstep itself.
    Internal,
    /// Wrong flags or arguments.
    Usage,
    /// The pipeline file, or a setting, is not valid.
    Invalid,
    /// The run failed; all that had to roll back did.
    Failed,
    /// The run failed and a rollback did not finish.
    RollbackIncomplete,
    /// The run was cancelled and rolled back.
    Cancelled,
    /// Gave up waiting; the run goes on.
    GaveUp,
    /// NATS or a coordinator is out of reach, or the run was refused.
    Unavailable,
    /// Too late: already decided.
    TooLate,
    /// Ended by Ctrl-C.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

/// One row of the table.
pub(crate) struct Row {
    /// The code's name in this source.
    pub(crate) exit: Exit,
    /// The number that the shell sees.
    pub(crate) code: u8,
    /// What it means.
    pub(crate) meaning: &'static str,
    /// What to do next.
    pub(crate) next: &'static str,
}

/// Every code, in order.
pub(crate) const TABLE: [Row; 12] = [
    Row {
        exit: Exit::Done,
        code: 0,
        meaning: "Done. With a warning on standard error if something degraded after the commit, \
                  or was not finalized everywhere.",
        next: "Nothing; read the warning if there is one.",
    },
    Row {
        exit: Exit::Internal,
        code: 1,
        meaning: "An internal error: Lockstep itself is at fault.",
        next: "Report it with the message. The log is untouched by a crashed client: \
               `lockstep status` says how the run stands.",
    },
    Row {
        exit: Exit::Usage,
        code: 2,
        meaning: "Wrong usage: an unknown verb or flag, a missing or malformed argument, \
                  a run or party that does not exist, a run id that another plan has, a rollback \
                  that has nothing to settle.",
        next: "Follow the message; `lockstep VERB --help` lists what is accepted.",
    },
    Row {
        exit: Exit::Invalid,
        code: 3,
        meaning: "The pipeline file or a setting is not valid, or asks for a target that this \
                  version cannot serve. Nothing was started.",
        next: "Correct what the message points at; `lockstep validate FILE` checks without \
               a server.",
    },
    Row {
        exit: Exit::Failed,
        code: 4,
        meaning: "The run failed, and all that had to roll back did (what was kept on purpose or \
                  could not be given back is listed), or was settled since. Also a run with `onFailure: each-own` that \
                  ended partial, and a failure in prepare, when nothing had been written.",
        next: "Read the cause (`lockstep status RUN`, `lockstep logs RUN`), correct it, run again.",
    },
    Row {
        exit: Exit::RollbackIncomplete,
        code: 5,
        meaning: "The run failed and a rollback did not finish, or is unknown.",
        next: "`lockstep status RUN` lists what is left and where. Repair the target, then \
               `lockstep rollback resume RUN`, or keep what is there with \
               `lockstep rollback accept RUN --reason TEXT`. Until then the next run refuses.",
    },
    Row {
        exit: Exit::Cancelled,
        code: 6,
        meaning: "The run was cancelled on request and rolled back.",
        next: "Nothing; `lockstep status RUN` says who cancelled it and why.",
    },
    Row {
        exit: Exit::GaveUp,
        code: 7,
        meaning: "Gave up waiting (`--timeout`); what was waited for goes on.",
        next: "`lockstep status RUN --watch` to go on watching, `lockstep abort RUN --reason TEXT` to end it.",
    },
    Row {
        exit: Exit::Unavailable,
        code: 8,
        meaning: "NATS, a coordinator or a cluster is out of reach or misconfigured; or the run \
                  was refused at admission, or because the stream is full.",
        next: "`lockstep doctor` says what is wrong. A refused run names the run in its way.",
    },
    Row {
        exit: Exit::TooLate,
        code: 9,
        meaning: "Too late: what `abort`, `barrier arrive`, `barrier fail` or `rollback` spoke of \
                  was already decided or settled. Nothing changed.",
        next: "`lockstep status RUN` shows the decision and the record that made it.",
    },
    Row {
        exit: Exit::Interrupted,
        code: 130,
        meaning: "Ended by Ctrl-C (SIGINT). A watched run goes on.",
        next: "`lockstep status RUN --watch` to go on watching, `lockstep abort RUN --reason TEXT` to end it.",
    },
    Row {
        exit: Exit::Terminated,
        code: 143,
        meaning: "Ended by SIGTERM. A watched run goes on; an agent's run waits for the next agent.",
        next: "As for 130.",
    },
];

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        TABLE.iter().find(|row| row.exit == self).map_or(1, |row| row.code)
    }

    /// What to do next, as the table says it.
    pub(crate) fn next(self) -> &'static str {
        TABLE.iter().find(|row| row.exit == self).map_or("", |row| row.next)
    }

    /// What a run's end means for whoever waited for it.
    pub(crate) fn of(result: RunResult) -> Self {
        match result {
            RunResult::Succeeded | RunResult::Planned => Self::Done,
            RunResult::RolledBack | RunResult::Partial => Self::Failed,
            RunResult::RollbackIncomplete => Self::RollbackIncomplete,
            RunResult::Cancelled => Self::Cancelled,
            RunResult::Refused => Self::Unavailable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The reference page of this table, in Markdown.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Exit codes\n\n\
         One table for every program: `lockstep`, `lockstep-coordinator` and `lockstep-agent`.\n\
         Generated from `cli/src/exit.rs`; `UPDATE=1 cargo test -p lockstep-cli --test it reference`\n\
         writes it anew.\n\n\
         | code | meaning | what to do |\n|---:|---|---|\n",
    );
    for row in &TABLE {
        page.push_str(&format!("| {} | {} | {} |\n", row.code, row.meaning, row.next));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_and_the_rows_are_in_order() {
        let codes: Vec<u8> = TABLE.iter().map(|row| row.code).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 143]);
        for row in &TABLE {
            assert_eq!(row.exit.code(), row.code);
            assert!(!row.exit.next().is_empty());
        }
    }

    #[test]
    fn a_runs_end_decides_the_code() {
        let table = [
            (RunResult::Succeeded, 0),
            (RunResult::Planned, 0),
            (RunResult::RolledBack, 4),
            (RunResult::Partial, 4),
            (RunResult::RollbackIncomplete, 5),
            (RunResult::Cancelled, 6),
            (RunResult::Refused, 8),
        ];
        for (result, code) in table {
            assert_eq!(Exit::of(result).code(), code, "{result:?}");
        }
    }

    #[test]
    fn the_reference_page_has_a_line_for_every_code() {
        let page = reference();
        for row in &TABLE {
            assert!(page.contains(&format!("| {} | ", row.code)), "{} is missing", row.code);
        }
    }
}
