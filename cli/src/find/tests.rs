//! Names and what they mean.

use lockstep_shared::{record::RunResult, time::Timestamp};

use super::{
    known::{End, Facts, Known},
    *,
};

fn key(text: &str) -> RunKey {
    parse_key(text).unwrap()
}

fn planned_runs() -> Planned {
    [("shop/r1", 10), ("shop/r2", 30), ("blog/release-7", 20), ("blog/rest", 25)]
        .map(|(name, time)| (key(name), Timestamp(time)))
        .into()
}

fn said(wanted: Option<&str>, planned: &Planned) -> Result<Meant, String> {
    meant(wanted, planned).map_err(|failure| failure.text())
}

fn chosen(wanted: &str) -> Result<Meant, String> {
    said(Some(wanted), &planned_runs())
}

/// A run that ended so, or is open.
fn known(name: &str, result: Option<RunResult>) -> Known {
    let end = result.map(|result| End { at: Timestamp(0), result });
    Known { key: key(name), planned: Timestamp(0), end, facts: Facts::default() }
}

fn picked(runs: &[Known], need: Need) -> Result<String, Unfound> {
    choose(runs, need).map(|key| key.run.to_string())
}

#[test]
fn a_pipelines_name_means_its_runs_and_nothing_means_all() {
    assert_eq!(said(None, &planned_runs()), Ok(Meant::Of(None)));
    assert_eq!(chosen("blog"), Ok(Meant::Of(Some("blog".parse().unwrap()))));
}

#[test]
fn the_beginning_or_the_end_of_an_id_will_do_if_it_is_unique() {
    assert_eq!(chosen("rel"), Ok(Meant::Run(key("blog/release-7"))));
    assert_eq!(chosen("blog/res"), Ok(Meant::Run(key("blog/rest"))));
    assert_eq!(chosen("se-7"), Ok(Meant::Run(key("blog/release-7"))));
    assert!(chosen("re").unwrap_err().contains("may be any of"));
}

#[test]
fn ids_that_begin_alike_are_told_apart_by_their_ends_and_it_is_said_how_much_is_needed() {
    let planned: Planned =
        ["shop/01a22042-0723-77be-9325-5c2c88f0c2c4", "shop/01a22042-0799-77be-9325-5c2c88f0cac4"]
            .map(|name| (key(name), Timestamp(1)))
            .into();
    let said = said(Some("01a22042"), &planned).unwrap_err();
    assert!(said.contains("the last 3 characters of the run's id"), "{said}");
    assert_eq!(
        meant(Some("2c4"), &planned).ok(),
        Some(Meant::Run(key("shop/01a22042-0723-77be-9325-5c2c88f0c2c4")))
    );
}

#[test]
fn a_misspelt_run_is_answered_with_what_may_be_meant() {
    let near = chosen("relaese-7").unwrap_err();
    assert!(near.contains("did you mean blog/release-7"), "{near}");
    let far = chosen("something-else-entirely").unwrap_err();
    assert!(far.contains("`lockstep ls` lists the runs"), "{far}");
    assert!(said(Some("x"), &Planned::new()).unwrap_err().contains("no run at all"));
}

#[test]
fn a_name_is_near_only_if_few_characters_differ() {
    assert_eq!(nearest("frontned", ["backend", "frontend"]), Some("frontend"));
    assert_eq!(nearest("zzz", ["backend", "frontend"]), None);
}

#[test]
fn refused_runs_and_dry_runs_are_passed_over_unless_nothing_else_is_there() {
    let (refused, dry) = (Some(RunResult::Refused), Some(RunResult::Planned));
    let back = Some(RunResult::RolledBack);
    let runs =
        [known("s/r4", refused), known("s/r3", dry), known("s/r2", back), known("s/r1", back)];
    assert_eq!(picked(&runs, Need::Look), Ok("r2".to_owned()));
    assert_eq!(picked(&runs[..2], Need::Look), Ok("r4".to_owned()), "the latest of what is there");
    let open =
        [known("s/r4", refused), known("s/r3", None), known("s/r2", None), known("s/r1", back)];
    assert_eq!(picked(&open, Need::Look), Ok("r2".to_owned()), "the others wait for the oldest");
    assert_eq!(picked(&open, Need::Open), Ok("r2".to_owned()));
    let mut live = known("s/r3", None);
    live.facts.dry = true;
    let both = [live, known("s/r1", back)];
    assert_eq!(picked(&both, Need::Look), Ok("r1".to_owned()));
    assert_eq!(picked(&both, Need::Open), Ok("r3".to_owned()), "it is the only open one");
    assert_eq!(picked(&both[1..], Need::Open), Err(Unfound::Nothing(Need::Open)));
}

#[test]
fn a_release_is_repeated_from_the_latest_that_was_committed() {
    let (good, back) = (Some(RunResult::Succeeded), Some(RunResult::RolledBack));
    let runs = [known("s/r3", back), known("s/r2", good), known("s/r1", good)];
    assert_eq!(picked(&runs, Need::Committed), Ok("r2".to_owned()));
    assert_eq!(picked(&runs[..1], Need::Committed), Err(Unfound::Nothing(Need::Committed)));
    let mut finalizing = known("s/r4", None);
    finalizing.facts.committed = true;
    assert_eq!(picked(&[finalizing, runs[1].clone()], Need::Committed), Ok("r4".to_owned()));
}

#[test]
fn a_debt_is_settled_in_the_one_run_that_has_it() {
    let incomplete = Some(RunResult::RollbackIncomplete);
    let owing = |name| {
        let mut known = known(name, incomplete);
        known.facts.owing = true;
        known
    };
    let settled = known("s/r3", incomplete);
    let runs = [known("s/r4", Some(RunResult::Succeeded)), settled, owing("s/r2"), owing("s/r1")];
    assert_eq!(picked(&runs[..3], Need::Debt), Ok("r2".to_owned()));
    assert_eq!(picked(&runs[..2], Need::Debt), Err(Unfound::Nothing(Need::Debt)));
    let both = Unfound::Several([key("s/r1"), key("s/r2")].into());
    assert_eq!(picked(&runs, Need::Debt), Err(both));
}
