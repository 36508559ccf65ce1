//! What was found by a seed and made small, as plans: a seed means nothing once code has moved, a plan still does.

use evenkeel_sim::step::{Plan, run};
use evenkeel_sim::trace::Detail;

fn holds(plan: &str) {
    let plan: Plan = plan.parse().expect("the plan is understood");
    let report = run(&plan, Detail::Hashes);
    assert!(report.is_clean(), "{report}");
}

/// A member was thrown out while its share was on its way to it. The share came after ten seconds, and the member went by
/// its own clock from then on: for as long as a session it handled partitions that another had.
#[test]
fn a_share_that_comes_late_is_not_trusted_for_a_whole_session() {
    holds(
        "\
         set members 3\n\
         set events 2\n\
         set bad-percent 4\n\
         seed 6515\n\
         quiet at 6.762s\n\
         storms of 0.746s every 11.132s\n\
         chance slow 5423ppm\n\
         at 0.08s evict group 0 member 1\n\
         at 0.1s evict group 0 member 2\n\
         at 0.2s evict group 0 member 3\n\
         spare slow of 2 nth 2\n\
         ",
    );
}

/// A member was cut off with a commit on its way, lost its partitions and got them back in the same generation. Its new
/// assignment committed further; then the cut healed, and the old commit came and was taken, for generation and owner were
/// right. With nothing new to commit, the group stood at the lower position for good.
#[test]
fn a_commit_of_an_assignment_before_is_said_over_when_it_is_taken_late() {
    holds(
        "\
         set brokers 3\n\
         set topics 2\n\
         set groups 2\n\
         set members 3\n\
         set events 18\n\
         set active-ms 14607\n\
         set session-ms 6347\n\
         seed 225716\n\
         quiet at 14.607s\n\
         at 11s cut process 3 from broker 2 for 28s\n\
         ",
    );
}

/// The group's coordinator moved while commits to the old one failed, each after a longer wait. The member found the new one,
/// was asked to stop, and let its whole drain pass waiting to commit again.
#[test]
fn a_drain_does_not_wait_for_what_failed_at_another_coordinator() {
    holds(
        "\
         set brokers 3\n\
         set partitions 2\n\
         set members 2\n\
         set events 2\n\
         set keys 2\n\
         set active-ms 6314\n\
         set watch-interval-ms 1385\n\
         set rebalance-timeout-ms 4082\n\
         seed 277191\n\
         quiet at 6.314s\n\
         at 2s recreate topic of partition 1 gone 1s\n\
         at 2s move-coordinator group 0 to 1\n\
         at 3.55s kill-broker 1 down 0.75s\n\
         at 3.56s isolate-broker 0 for 5.73s\n\
         at 5s recreate topic of partition 0 gone 1s\n\
         ",
    );
}

/// An event was handled, committed and lost to an unclean election; another came to stand at its offset, below what was
/// committed. The next owner knew the epoch of what had been read before, but not where it had begun, and passed it over.
#[test]
fn a_log_that_parts_below_a_commit_is_read_again_by_the_next_owner() {
    holds(
        "\
         set brokers 3\n\
         set events 2\n\
         set delivery-ms 1007\n\
         seed 282682\n\
         quiet at 7.085s\n\
         at 0s elect-unclean partition 0 to 2 behind 3s\n\
         at 2s elect-unclean partition 0 to 1 behind 3s\n\
         at 5s pause owner of partition 1 for 18s\n\
         at 6s stop process 0 down 1s\n\
         ",
    );
}

/// A false alarm: who read the new log from its old position showed the world a record in the middle first, and the world
/// never looked at those before it, one of which blocked.
#[test]
fn records_before_the_first_that_is_shown_are_seen_too() {
    holds(
        "\
         set partitions 4\n\
         set groups 2\n\
         set handlers 2\n\
         set events 43\n\
         set events-per-send 5\n\
         set keys 2\n\
         set bad-percent 8\n\
         set active-ms 2691\n\
         set fetch-wait-ms 157\n\
         seed 204840\n\
         quiet at 2.691s\n\
         chance request-lost 1499ppm\n\
         chance reply-lost 35975ppm\n\
         at 0.6s isolate-process 1 for 2.7s\n\
         at 1.9s recreate topic of partition 1 gone 0.1s\n\
         at 2s evict group 0 member 0\n\
         at 2.2s isolate-process 2 for 1s\n\
         spare reply-lost of 2 nth 10\n\
         spare reply-lost of 3 nth 11\n\
         spare reply-lost of 3 nth 16\n\
         spare reply-lost of 4294967297 nth 11\n\
         spare reply-lost of 4294967299 nth 9\n\
         ",
    );
}

/// A commit named an event settled beyond its offset. The log lost that event to an unclean election and another came to stand
/// there. The next owner read on from below the cut, where both logs agree, and took the new event for the settled one.
#[test]
fn what_was_settled_in_a_log_that_was_cut_hides_nothing_of_the_new_one() {
    holds(
        "\
         set brokers 2\n\
         set producers 2\n\
         set events 8\n\
         set bad-percent 6\n\
         set active-ms 24068\n\
         seed 10083324\n\
         quiet at 24.068s\n\
         at 7.7s elect-unclean partition 0 to 1 behind 5.7s\n\
         at 13s stale-metadata broker 0 for 3s\n\
         at 15s evict group 0 member 2\n\
         ",
    );
}

/// A false alarm: a batch of a producer that had died came to its broker after all had come to rest.
#[test]
fn nothing_is_at_rest_while_a_batch_is_on_its_way() {
    holds(
        "\
         set brokers 3\n\
         set topics 2\n\
         set partitions 3\n\
         set pipeline 3\n\
         set events 8\n\
         set keys 10\n\
         set active-ms 2415\n\
         set session-ms 9405\n\
         set lag-us 18952\n\
         seed 10086818\n\
         quiet at 2.415s\n\
         at 0.675s crash process 1 down 0.7225s\n\
         at 0.95s kill-broker 0 down 0.49s\n\
         at 2s crash process 1 down 1s\n\
         at 2s deploy group 0 handlers 65517 every 1s\n\
         strike slow of 8589934598 nth 2\n\
         ",
    );
}

/// A false alarm: the coordinator moved twice just before faults were over, and a member was asked to stop that had not heard
/// from it since. It could not know whether its partitions were still its own, and left without a last commit.
#[test]
fn nothing_is_at_rest_before_members_have_heard_from_their_coordinator() {
    holds(
        "\
         set brokers 2\n\
         set coordinator-load-ms 959\n\
         set rebalance-delay-ms 26\n\
         set members 3\n\
         set events 1\n\
         set session-ms 9386\n\
         set rebalance-timeout-ms 7902\n\
         seed 1581\n\
         quiet at 18.016s\n\
         at 15.7s move-coordinator group 0 to 2\n\
         at 16.6s move-coordinator group 0 to 1\n\
         ",
    );
}

/// One answer held records of several leader epochs, and the last was said to begin where the answer did. After an unclean
/// election the member went back there, and its group below what was committed and still stood.
#[test]
fn where_a_log_was_cut_is_known_also_of_what_one_answer_brought() {
    holds(
        "\
         set brokers 3\n\
         set events 16\n\
         seed 1149\n\
         quiet at 12.235s\n\
         at 2s stop process 0 down 6s\n\
         at 3.2s elect-unclean partition 0 to 2 behind 5.8s\n\
         at 3.6s move-leader partition 0 to 1\n\
         ",
    );
}

/// A run that did not end. Retention took all that a replica had of its last epoch; its next leader had never had that
/// epoch, and the replica looked for where the two logs part for ever: there was nothing to cut off.
#[test]
fn a_replica_with_nothing_left_of_its_last_epoch_follows_on() {
    holds(
        "\
         set brokers 3\n\
         seed 694845\n\
         quiet at 12s\n\
         at 3.49s elect-unclean partition 0 to 1 behind 3.5s\n\
         at 4.95s elect-unclean partition 0 to 2 behind 2.46s\n\
         at 7.33s elect-unclean partition 0 to 0 behind 4.06s\n\
         at 8.54s stall-replica partition 0 broker 1 for 2.25s\n\
         at 10.26s trim partition 0 to 0\n\
         ",
    );
}

/// A false alarm: a tool had set the position of a partition that nobody read, and an unclean election cut the log below it. No
/// member could know that the position was of another log. Such an election is not held any more.
#[test]
fn a_log_is_not_cut_below_a_position_that_does_not_tell_its_log() {
    holds(
        "\
         set brokers 3\n\
         set events 60\n\
         seed 1149\n\
         quiet at 12.235s\n\
         at 0.7s elect-unclean partition 0 to 2 behind 5s\n\
         at 5s stop process 0 down 5.5s\n\
         at 5.3s set-back group 0 partition 0 by 1\n\
         ",
    );
}

/// A member was thrown out while its share was on its way, for longer than its session lasts. When the share came it asked
/// for positions and sent its first heartbeat side by side, and handed an event out before the heartbeat was refused.
#[test]
fn a_share_older_than_a_session_is_confirmed_before_an_event_is_handed_out() {
    holds(
        "\
         set brokers 3\n\
         set topics 2\n\
         set members 3\n\
         set handlers 2\n\
         set events 2\n\
         set blocking 0\n\
         set session-ms 6744\n\
         seed 200414923\n\
         quiet at 9.943s\n\
         at 0s empty-pool for 19s\n\
         at 0.01s evict group 0 member 2\n\
         at 0.6s evict group 0 member 2\n\
         strike slow of 2 nth 2\n\
         strike slow of 17179869187 nth 1\n\
         strike slow of 17179869187 nth 4\n\
         strike slow of 17179869187 nth 5\n\
         ",
    );
}

/// A leader refused a position that retention had overtaken. When its start was asked for, another led that had kept those
/// records, and the member told of a position past the end of a log that had never been cut.
#[test]
fn a_leader_that_kept_its_first_records_is_not_taken_for_one_that_lost_its_last() {
    holds(
        "\
         set brokers 3\n\
         set groups 2\n\
         set members 2\n\
         set handlers 2\n\
         set events 6\n\
         set events-per-send 5\n\
         set bursts 3\n\
         seed 200118862\n\
         quiet at 22.474s\n\
         at 0s deploy group 1 handlers 59896 every 1s\n\
         at 1s evict group 0 member 2\n\
         at 1s elect-unclean partition 0 to 1 behind 4s\n\
         at 1.5s pause owner of partition 0 for 13.7s\n\
         at 1.8s evict group 0 member 5\n\
         at 2s move-coordinator group 0 to 1\n\
         at 3s trim partition 0 to 3\n\
         strike commit-applied of 1 nth 0\n\
         strike handler-slow of 4294967298 nth 0\n\
         ",
    );
}

/// No bug but a false alarm: an event was handled and committed, one without it led for a second, then one that has it. The
/// judge had forgotten what became of it.
#[test]
fn a_record_that_was_cut_off_and_comes_back_is_what_it_was() {
    holds(
        "\
         set brokers 3\n\
         set events 1\n\
         seed 200267812\n\
         quiet at 22.921s\n\
         at 1s move-leader partition 0 to 1\n\
         at 3s elect-unclean partition 0 to 0 behind 8s\n\
         at 9s elect-unclean partition 0 to 2 behind 3s\n\
         at 11s crash owner of partition 3 down 1s\n\
         ",
    );
}

/// No bug but a false alarm: a member rejoined in the same generation and was told position 2. Then a commit of its assignment
/// before was taken that had been frozen on its way and says 3. It went on from 2, as it had been told.
#[test]
fn a_commit_of_an_assignment_before_binds_nobody_who_was_told_less() {
    holds(
        "\
         set brokers 3\n\
         set rebalance-delay-ms 239\n\
         set topics 3\n\
         set groups 2\n\
         set members 2\n\
         set pipeline 2\n\
         set events 7\n\
         set frozen-broker 1\n\
         set frozen-process 2\n\
         set active-ms 12911\n\
         set bursts 1\n\
         set fetch-wait-ms 1598\n\
         set watch-interval-ms 2830\n\
         set session-ms 7046\n\
         set delivery-ms 1554\n\
         seed 200070883\n\
         quiet at 12.911s\n\
         at 0s stale-metadata broker 2 for 14s\n\
         at 0s stall-replica partition 0 broker 1 for 29s\n\
         at 0.1s move-coordinator group 1 to 0\n\
         at 0.13s move-coordinator group 0 to 1\n\
         at 0.285s move-coordinator group 0 to 0\n\
         at 0.4s move-coordinator group 1 to 2\n\
         ",
    );
}

/// An event blocked, and was then cut off by an unclean election. A member that went on holding it would keep all behind it
/// in its lane waiting for a record that is not there. The judge had excused that.
#[test]
fn a_record_that_an_election_cut_off_holds_nobody_up() {
    holds(
        "\
         set brokers 2\n\
         set events 11\n\
         set bad-percent 6\n\
         seed 800025\n\
         quiet at 30s\n\
         at 2s elect-unclean partition 0 to 1 behind 6s\n\
         ",
    );
}

/// An event that a handler failed for was cut off while it waited for its next attempt. Where the policy is to block it was
/// tried for ever, and what came in its place waited behind it.
#[test]
fn an_event_that_was_cut_off_while_it_was_retried_holds_nobody_up() {
    holds(
        "\
         set brokers 3\n\
         set handlers 2\n\
         set events 6\n\
         set bad-percent 30\n\
         set active-ms 5921\n\
         seed 903386385894\n\
         quiet at 5.922s\n\
         at 0s elect-unclean partition 0 to 1 behind 1s\n\
         at 1s elect-unclean partition 0 to 2 behind 3s\n\
         ",
    );
}

/// Two logs parted twice. The member went back to where the first answer said, committed that, and was told to go back
/// further: for the time between, the next owner would have begun in a log that was lost.
#[test]
fn nothing_is_committed_between_two_partings_of_a_log() {
    holds(
        "\
         set brokers 3\n\
         set members 2\n\
         set events 5\n\
         set active-ms 18501\n\
         seed 355422772533\n\
         quiet at 18.502s\n\
         at 1.8s pause owner of partition 0 for 15.9s\n\
         at 3s elect-unclean partition 0 to 2 behind 6s\n\
         at 4.7s elect-unclean partition 0 to 1 behind 6s\n\
         at 7s elect-unclean partition 0 to 0 behind 5s\n\
         at 10s elect-unclean partition 0 to 0 behind 3s\n\
         at 11s pause owner of partition 0 for 13s\n\
         ",
    );
}

/// The log was cut below the committed position while nobody owned it. Whoever came next said the position again, for a
/// commit was in doubt, before it had asked the leader for anything.
#[test]
fn a_position_is_not_said_again_before_the_leader_was_asked() {
    holds(
        "\
         set brokers 3\n\
         set members 2\n\
         set events 3\n\
         set active-ms 5158\n\
         seed 711691156739\n\
         quiet at 5.159s\n\
         at 0s elect-unclean partition 0 to 1 behind 5s\n\
         at 2.9s evict group 0 member 1\n\
         at 3s evict group 0 member 1\n\
         strike reply-lost of 1 nth 8\n\
         strike reply-lost of 4294967297 nth 17\n\
         ",
    );
}

/// A false alarm: a broker that has trimmed an epoch away tells that it ended where its log begins, and the world took that
/// for what two logs had in common.
#[test]
fn where_logs_part_is_not_known_once_their_beginning_is_gone() {
    holds(
        "\
         set brokers 3\n\
         set events 4\n\
         set events-per-send 2\n\
         set bursts 2\n\
         seed 300512313\n\
         quiet at 6.464s\n\
         at 0s elect-unclean partition 0 to 1 behind 10s\n\
         at 1.4s elect-unclean partition 0 to 2 behind 3s\n\
         at 2s move-leader partition 0 to 1\n\
         at 2.4s trim partition 0 to 1\n\
         ",
    );
}

/// A false alarm: commits to a coordinator that had died, for a topic that was gone and, in another assignment, to one that
/// loaded its groups were counted as one row of failures without growing waits.
#[test]
fn the_failures_of_two_assignments_are_no_row() {
    holds(
        "\
         set brokers 3\n\
         set topics 2\n\
         set groups 2\n\
         set handlers 2\n\
         set producers 2\n\
         set pipeline 3\n\
         set events 66\n\
         set events-per-send 7\n\
         set active-ms 14282\n\
         set fetch-wait-ms 832\n\
         set commit-interval-ms 183\n\
         set session-ms 9118\n\
         seed 400255561\n\
         quiet at 14.282s\n\
         at 5s grow topic of partition 1 by 1\n\
         at 5s kill-broker 1 down 1s\n\
         at 6s evict group 0 member 1\n\
         at 9s evict group 0 member 1\n\
         at 9.04s kill-broker 0 down 1.41s\n\
         at 10.8s recreate topic of partition 1 gone 2.8s\n\
         at 12.7s kill-broker 2 down 0.1s\n\
         at 13.9s move-coordinator group 0 to 2\n\
         strike request-lost of 2 nth 10\n\
         strike request-lost of 2 nth 26\n\
         strike request-lost of 12884901889 nth 6\n\
         strike reply-lost of 8589934594 nth 0\n\
         strike slow of 2 nth 13\n\
         strike slow of 3 nth 29\n\
         strike slow of 7 nth 16\n\
         strike handler-slow of 12884901909 nth 0\n\
         strike handler-slow of 12884901929 nth 0\n\
         strike handler-slow of 12884901933 nth 0\n\
         ",
    );
}

/// Retention overtook a member, which went on behind the gap and named the epoch that it had read before it. The next leader
/// still had the records of the gap, of a later epoch, and the member took that for a log that had been cut.
#[test]
fn a_gap_is_not_taken_for_a_log_that_was_cut() {
    holds(
        "\
         set brokers 3\n\
         set members 2\n\
         set active-ms 18042\n\
         set bursts 4\n\
         set fetch-wait-ms 107\n\
         seed 600006470\n\
         quiet at 18.042s\n\
         at 0.8s move-leader partition 0 to 2\n\
         at 4.48s move-leader partition 0 to 1\n\
         at 4.7s stall-replica partition 0 broker 0 for 6.2s\n\
         at 4.8s trim partition 0 to 0\n\
         at 8s move-leader partition 0 to 0\n\
         strike slow of 8589934599 nth 35\n\
         ",
    );
}

/// A false alarm: a member was assigned a partition once more, was told no position until it stopped, and was blamed for what
/// its assignment before had settled and could not commit.
#[test]
fn an_assignment_that_was_told_no_position_leaves_nothing() {
    holds(
        "\
         set brokers 3\n\
         set partitions 3\n\
         set groups 2\n\
         set members 2\n\
         set producers 2\n\
         set events 3\n\
         set active-ms 3639\n\
         seed 600030477\n\
         quiet at 3.639s\n\
         at 0s kill-broker 1 down 1s\n\
         at 0.99s crash owner of partition 0 down 2.08s\n\
         at 1.15s evict group 0 member 2\n\
         at 3s kill-broker 2 down 1s\n\
         at 3s spoil-metadata group 0 partition 2 how 59\n\
         strike request-lost of 1 nth 5\n\
         strike request-lost of 4294967297 nth 12\n\
         strike deadlock of 0 nth 0\n\
         strike deadlock of 0 nth 2\n\
         ",
    );
}

/// A group's position was overtaken by retention, and it committed the log's new start without saying what stands before
/// it. Then an unclean election cut the log below that, and it grew anew: nothing told the group, which waited past the
/// end and never handled what came to stand below.
#[test]
fn a_log_cut_below_the_start_that_retention_left_is_noticed() {
    holds(
        "\
         set brokers 2\n\
         set events 5\n\
         set active-ms 60000\n\
         set bursts 2\n\
         seed 1\n\
         quiet at 70s\n\
         at 15s stall-replica partition 0 broker 1 for 50s\n\
         at 15s stop process 0 down 30s\n\
         at 40s trim partition 0 to 0\n\
         at 50s elect-unclean partition 0 to 1 behind 1s\n\
         ",
    );
}

/// The same for a group that had committed nothing yet and began at the start of the log.
#[test]
fn a_log_cut_below_the_start_that_a_new_group_was_told_is_noticed() {
    holds(
        "\
         set brokers 3\n\
         set events 24\n\
         set bursts 2\n\
         set active-ms 60000\n\
         set delivery-ms 20000\n\
         seed 1\n\
         quiet at 70s\n\
         at 0.001s crash process 0 down 45s\n\
         at 15s stall-replica partition 0 broker 1 for 50s\n\
         at 40s trim partition 0 to 0\n\
         at 50s elect-unclean partition 0 to 1 behind 0.1s\n\
         ",
    );
}

/// The same again, and the member died. By the time the next one was told the position the log had grown past it, so it
/// passed over what stood below without a word.
#[test]
fn whoever_takes_over_a_position_at_a_start_notices_the_cut_below_it() {
    holds(
        "\
         set brokers 3\n\
         set events 14\n\
         set keys 12\n\
         set bursts 2\n\
         set active-ms 60000\n\
         set delivery-ms 20000\n\
         set handling-us 1000\n\
         seed 1\n\
         quiet at 80s\n\
         at 15s stall-replica partition 0 broker 1 for 60s\n\
         at 15s stop process 0 down 30s\n\
         at 40s trim partition 0 to 0\n\
         at 46s crash process 0 down 12s\n\
         at 50s elect-unclean partition 0 to 1 behind 0.1s\n\
         ",
    );
}

/// A member was asked to stop, its last commit was slow, and it was evicted meanwhile. That its assignment had left
/// something uncommitted it told after it had said that it was no more, to nobody: it had stopped cleanly.
#[test]
fn what_was_left_undone_is_told_before_the_member_is_no_more() {
    holds(
        "\
         set events 1\n\
         seed 10917\n\
         quiet at 2.777s\n\
         at 0.8s stop process 0 down 0.1s\n\
         at 2s evict group 0 member 0\n\
         strike slow of 3 nth 8\n\
         ",
    );
}

/// A false alarm: a member that had just been told a position was blamed for the records of the new log below it, of
/// which it had not heard yet.
#[test]
fn nobody_holds_what_lies_below_all_that_it_asked_for() {
    holds(
        "\
         set brokers 2\n\
         set handlers 2\n\
         set events 4\n\
         set bad-percent 8\n\
         set active-ms 21568\n\
         set window 1\n\
         seed 800184185\n\
         quiet at 21.568s\n\
         at 1s pause process 0 for 29s\n\
         at 5.3s elect-unclean partition 0 to 1 behind 4.9s\n\
         at 8s crash process 0 down 1s\n\
         at 11.08s pause owner of partition 0 for 9.77s\n\
         at 15s deploy group 0 handlers 65529 every 1s\n\
         ",
    );
}

/// A false alarm: a poison record was read, trimmed away, and counted as cut off when a replica that lacked it came to
/// lead. Nothing tells its reader, which blocks on it as it should.
#[test]
fn what_was_trimmed_away_before_a_cut_may_block_for_ever() {
    holds(
        "\
         set brokers 2\n\
         set events 8\n\
         set bad-percent 8\n\
         set frozen-broker 1\n\
         seed 800055392\n\
         quiet at 12.339s\n\
         at 6s kill-broker 0 down 1s\n\
         at 7s elect-unclean partition 0 to 1 behind 3s\n\
         at 9s trim partition 0 to 2\n\
         ",
    );
}

/// A false alarm: a process stood still between handing an event out and the handler's first run, longer than the policy
/// spends on an event. The first failure was the last attempt.
#[test]
fn an_event_that_was_handed_out_before_a_pause_is_as_old_as_the_pause() {
    holds(
        "\
         set topics 2\n\
         set handlers 2\n\
         set events 80\n\
         set active-ms 7579\n\
         set fetch-wait-ms 125\n\
         set watch-interval-ms 500\n\
         set lag-us 14601\n\
         seed 1000034582\n\
         quiet at 7.579s\n\
         at 1.12s pause owner of partition 1 for 4.44s\n\
         strike handler-fails of 1 nth 0\n\
         strike handler-fails of 4294967306 nth 0\n\
         strike handler-fails of 8589934598 nth 0\n\
         ",
    );
}
