//! What a session's messages mean, as far as faults are concerned: which is a statement, which is COMMIT, and when the
//! answer to it has come.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::frames::Piece;

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing that runs.
    Pass(Bytes),
    /// A statement runs when this arrives.
    Statement(Bytes),
    /// COMMIT runs when this arrives.
    Commit(Bytes),
}

/// What becomes of what the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It goes on.
    Pass(Vec<Bytes>),
    /// The connection is cut after these bytes.
    Cut(Bytes),
}

/// What is to happen to the replies to what the client sent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Planned {
    /// Nothing.
    #[default]
    Nothing,
    /// The connection is cut when all has been done, before the client hears of it.
    Lose,
    /// The same, if it was a COMMIT that the server did.
    LoseCommit,
    /// The connection is cut within the next message, after so many thousandths of it.
    Tear(u64),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Prepared statements and portals that are COMMIT, by their names.
    prepared: BTreeSet<Bytes>,
    bound: BTreeSet<Bytes>,
    /// How many times the server will still say that it is ready.
    open: u64,
    planned: Planned,
    /// What the client does not hear yet, and whether a COMMIT was done in it.
    kept: Vec<Bytes>,
    committed: bool,
}

impl Session {
    /// Something for the server.
    pub(crate) fn ordered(&mut self, piece: Piece) -> Order {
        let Piece::Message(letter, bytes) = piece else { return Order::Pass(piece.into_bytes()) };
        let body = bytes.slice(5..);
        let is_commit = match letter {
            b'Q' => is_commit(&text(&body).0),
            b'P' => {
                let (name, rest) = text(&body);
                note(&mut self.prepared, name, is_commit(&text(&rest).0));
                return Order::Pass(bytes);
            }
            b'B' => {
                let (portal, rest) = text(&body);
                let is_commit = self.prepared.contains(&text(&rest).0);
                note(&mut self.bound, portal, is_commit);
                return Order::Pass(bytes);
            }
            b'E' => self.bound.contains(&text(&body).0),
            b'S' | b'F' => {
                self.open += 1;
                return Order::Pass(bytes);
            }
            _ => return Order::Pass(bytes),
        };
        self.open += u64::from(letter == b'Q');
        if is_commit { Order::Commit(bytes) } else { Order::Statement(bytes) }
    }

    /// What is to happen to the replies from now on.
    pub(crate) const fn plan(&mut self, planned: Planned) {
        self.planned = planned;
        self.committed = false;
    }

    /// Something for the client.
    pub(crate) fn replied(&mut self, piece: Piece) -> Reply {
        let is_ready = matches!(piece, Piece::Message(b'Z', _));
        if is_ready {
            self.open = self.open.saturating_sub(1);
        }
        self.committed |=
            matches!(&piece, Piece::Message(b'C', bytes) if bytes.get(5..) == Some(b"COMMIT\0"));
        let bytes = piece.into_bytes();
        match self.planned {
            Planned::Nothing => Reply::Pass(vec![bytes]),
            Planned::Tear(thousandths) => {
                let left = bytes.len() as u64 * thousandths / 1_000;
                Reply::Cut(bytes.slice(..usize::try_from(left).unwrap_or_default()))
            }
            Planned::LoseCommit if is_ready && self.committed => Reply::Cut(Bytes::new()),
            Planned::Lose if is_ready && self.open == 0 => Reply::Cut(Bytes::new()),
            // The server did not commit, so there is no such answer to lose.
            Planned::LoseCommit if is_ready && self.open == 0 => {
                self.planned = Planned::Nothing;
                self.kept.push(bytes);
                Reply::Pass(std::mem::take(&mut self.kept))
            }
            Planned::Lose => Reply::Pass(Vec::new()),
            Planned::LoseCommit => {
                self.kept.push(bytes);
                Reply::Pass(Vec::new())
            }
        }
    }
}

fn note(of: &mut BTreeSet<Bytes>, name: Bytes, is_commit: bool) {
    if is_commit {
        of.insert(name);
    } else {
        of.remove(&name);
    }
}

/// Text up to its zero, and what follows.
fn text(body: &Bytes) -> (Bytes, Bytes) {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    (body.slice(..end), body.slice((end + 1).min(body.len())..))
}

/// Whether a statement of the text is COMMIT, or END, which is the same. A semicolon within a string is taken for an end
/// of statement: what is mistaken for COMMIT then has an answer to lose, too.
fn is_commit(sql: &[u8]) -> bool {
    let first_word = |statement: &[u8]| {
        let word = statement.trim_ascii_start();
        let length = word.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        word[..length].to_ascii_lowercase()
    };
    sql.split(|byte| *byte == b';').any(|statement| matches!(&first_word(statement)[..], b"commit" | b"end"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::message;

    fn piece(letter: u8, body: &[u8]) -> Piece {
        Piece::Message(letter, message(letter, body).into())
    }

    fn is_order_to_commit(session: &mut Session, letter: u8, body: &[u8]) -> bool {
        matches!(session.ordered(piece(letter, body)), Order::Commit(_))
    }

    #[test]
    fn commit_is_seen_in_simple_and_in_prepared_statements() {
        let mut session = Session::default();
        for (sql, expected) in [
            ("COMMIT", true),
            ("  commit and chain;", true),
            ("end transaction", true),
            ("close evenkeel_transaction; commit and chain", true),
            ("begin", false),
            ("committed", false),
            ("select 'commit'", false),
            ("rollback", false),
            ("", false),
        ] {
            let body = format!("{sql}\0");
            assert_eq!(is_order_to_commit(&mut session, b'Q', body.as_bytes()), expected, "{sql:?}");
        }
        session.ordered(piece(b'P', b"c\0commit\0\0\0"));
        session.ordered(piece(b'P', b"s\0select 1\0\0\0"));
        session.ordered(piece(b'B', b"\0c\0\0\0\0\0\0\0"));
        assert!(is_order_to_commit(&mut session, b'E', b"\0\0\0\0\0"));
        session.ordered(piece(b'B', b"\0s\0\0\0\0\0\0\0"));
        assert!(!is_order_to_commit(&mut session, b'E', b"\0\0\0\0\0"));
    }

    #[test]
    fn the_reply_to_commit_is_lost_only_once_the_server_has_committed() {
        let mut session = Session::default();
        session.ordered(piece(b'Q', b"commit\0"));
        session.plan(Planned::LoseCommit);
        assert_eq!(session.replied(piece(b'C', b"CLOSE CURSOR\0")), Reply::Pass(vec![]));
        assert_eq!(session.replied(piece(b'C', b"COMMIT\0")), Reply::Pass(vec![]));
        assert_eq!(session.replied(piece(b'Z', b"I")), Reply::Cut(Bytes::new()));
    }

    #[test]
    fn what_was_rolled_back_instead_is_answered_late_and_whole() {
        let mut session = Session::default();
        session.ordered(piece(b'Q', b"commit\0"));
        session.plan(Planned::LoseCommit);
        assert_eq!(session.replied(piece(b'C', b"ROLLBACK\0")), Reply::Pass(vec![]));
        let kept = vec![message(b'C', b"ROLLBACK\0").into(), message(b'Z', b"I").into()];
        assert_eq!(session.replied(piece(b'Z', b"I")), Reply::Pass(kept));
        let next: Bytes = message(b'Z', b"I").into();
        assert_eq!(session.replied(piece(b'Z', b"I")), Reply::Pass(vec![next]));
    }

    #[test]
    fn a_statement_before_it_on_the_same_connection_is_waited_for() {
        let mut session = Session::default();
        session.ordered(piece(b'Q', b"select 1\0"));
        session.ordered(piece(b'Q', b"insert\0"));
        session.plan(Planned::Lose);
        assert_eq!(session.replied(piece(b'Z', b"T")), Reply::Pass(vec![]));
        assert_eq!(session.replied(piece(b'Z', b"T")), Reply::Cut(Bytes::new()));
    }

    #[test]
    fn a_torn_reply_ends_within_its_message() {
        let mut session = Session::default();
        session.ordered(piece(b'Q', b"select 1\0"));
        session.plan(Planned::Tear(999));
        let whole = message(b'T', b"columns");
        assert_eq!(
            session.replied(piece(b'T', b"columns")),
            Reply::Cut(whole[..whole.len() - 1].to_vec().into())
        );
    }
}
