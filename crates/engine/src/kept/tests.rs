use std::sync::Arc;
use std::thread::{scope, yield_now};

use tradejoin_flow::NothingPrepared;
use tradejoin_model::ChangeLane;

use super::*;

fn changes() -> Changes {
    let lanes = Arc::new([ChangeLane { at_rows: vec![0; 8], ..ChangeLane::default() }]);
    Changes { lanes, are_rows: false, trades_before: 0 }
}

fn keeper(events: Events) -> Keeper {
    Keeper::with(events, (KeepEvery::Trades(1), &Clock::default()), None)
}

/// Long enough for any clock.
const A_WHILE: Duration = Duration::from_millis(2);

/// Lets a while go by once somebody waits.
fn stay_behind(keeper: &Keeper) {
    while !keeper.events.is_waited_for() {
        yield_now();
    }
    let begin = Instant::now();
    while begin.elapsed() < A_WHILE {
        yield_now();
    }
}

#[test]
fn the_wait_for_what_keeps_is_told() {
    let keeper = keeper(Events::of_bytes(1));
    let (ledger, budget) = (Ledger::new(1), Budget::new(None));
    // The first one has room, however long it is.
    keeper.written((&ledger, &budget), Some(changes()), None);
    assert_eq!(keeper.report(), KeptReport::default());
    scope(|scope| {
        scope.spawn(|| {
            keeper.written((&ledger, &budget), Some(changes()), None);
            // With a cut behind it.
            let output = (Box::new(NothingPrepared) as Box<dyn Prepared>, Instant::now());
            keeper.written((&ledger, &budget), Some(changes()), Some(output));
        });
        stay_behind(&keeper);
        assert!(keeper.next_event().is_some());
        // It waits no more once it has told so.
        while keeper.report().pause_max == Duration::ZERO {
            yield_now();
        }
        stay_behind(&keeper);
        let first = keeper.report();
        assert!(first.waited >= A_WHILE && first.pause_max == first.waited, "{first:?}");
        assert!(keeper.next_event().is_some());
    });
    let report = keeper.report();
    assert!(report.waited >= 2 * A_WHILE && report.pause_max >= A_WHILE, "{report:?}");
    assert!(matches!(keeper.next_event(), Some(Event::Changes(_))));
    assert!(matches!(keeper.next_event(), Some(Event::Cut(_))), "a cut waits for no room");
    assert!(!keeper.has_event());
}

#[test]
fn nobody_waits_for_what_keeps_no_more() {
    let keeper = keeper(Events::of_bytes(1));
    keeper.send(Event::Changes(changes()));
    scope(|scope| {
        scope.spawn(|| keeper.send(Event::Changes(changes())));
        stay_behind(&keeper);
        keeper.close();
    });
    keeper.send(Event::Changes(changes()));
    assert!(!keeper.has_event());
}

#[test]
fn what_may_wait_is_counted_by_bytes() {
    let bytes = changes().lanes[0].memory_bytes();
    assert!(bytes >= 32, "{bytes}");
    let keeper = keeper(Events::of_bytes(100 * bytes));
    // Nobody takes any of them: this would stand still for ever if it waited.
    (0..100).for_each(|_| assert_eq!(keeper.send(Event::Changes(changes())), Duration::ZERO));
    scope(|scope| {
        scope.spawn(|| keeper.send(Event::Changes(changes())));
        stay_behind(&keeper);
        assert!(keeper.next_event().is_some());
    });
}
