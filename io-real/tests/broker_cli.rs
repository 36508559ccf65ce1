//! The program `evenkeel broker` as its users start and stop it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evenkeel::{Bus, Kafka, Topic};

fn evenkeel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running broker; killed if the test fails.
struct Running(Child);

impl Running {
    /// Starts it and answers what its line says.
    fn start(arguments: &[&str]) -> (Self, String) {
        let mut child =
            evenkeel(&[&["broker", "--listen", "127.0.0.1:0"], arguments].concat()).spawn().unwrap();
        let out = child.stdout.take().expect("it is piped");
        let running = Self(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).unwrap();
        let addresses = line.trim_end().strip_prefix("export KAFKA=").unwrap_or_else(|| panic!("{line:?}"));
        (running, addresses.to_owned())
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _is_reaped = self.0.wait();
    }
}

#[test]
fn it_serves_until_a_signal_and_ends_well() {
    for signal in ["-INT", "-TERM"] {
        let (mut running, addresses) = Running::start(&["--brokers", "3"]);
        assert_eq!(addresses.split(',').count(), 3, "{addresses}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            const GREETINGS: Topic<String> = Topic::new("greetings");
            let bus = Bus::builder("cli").kafka(Kafka::new(addresses.split(','))).open().await.unwrap();
            bus.ensure_topic("greetings", 3, []).await.unwrap();
            let produced = bus.produce(GREETINGS.event("k", &"hello".to_owned())).await.unwrap();
            assert_eq!(produced.len(), 1);
        });
        running.signal(signal);
        assert_eq!(running.0.wait().unwrap().code(), Some(0), "after {signal}");
    }
}

/// An output that takes nothing more, and that nobody reads.
fn full() -> (UnixStream, OwnedFd) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let end = loop {
        if let Err(error) = writer.write(&[b' '; 4096]) {
            break error;
        }
    };
    assert_eq!(end.kind(), ErrorKind::WouldBlock);
    writer.set_nonblocking(false).unwrap();
    (reader, writer.into())
}

/// Here it hangs where it tells its addresses, so it never gets to shutting down.
#[test]
fn a_second_signal_ends_it_whatever_it_is_doing() {
    let (_unread, out) = full();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = evenkeel(&["broker", "--listen", &address.to_string()]);
    let mut running = Running(command.stdout(out).spawn().unwrap());
    // Once it listens it waits for signals, too.
    let mut connection = loop {
        match TcpStream::connect(address) {
            Ok(connection) => break connection,
            Err(_) => assert_eq!(running.0.try_wait().unwrap(), None),
        }
    };
    running.signal("-INT");
    // Not the same one again: two of one kind may arrive as one.
    running.signal("-TERM");
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ended = connection.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(ended, Ok(0) | Err(ErrorKind::ConnectionReset)), "it goes on: {ended:?}");
    let status = running.0.wait().unwrap().code();
    assert!(matches!(status, Some(130 | 143)), "{status:?}");
}

#[test]
fn a_taken_port_is_told_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = evenkeel(&["broker", "--listen", &address]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.starts_with(&format!("evenkeel: cannot listen at {address}: ")), "{told}");
    assert!(told.contains("choose another port, or 0 for any that is free"), "{told}");
    assert!(ended.stdout.is_empty());
}

#[test]
fn wrong_arguments_are_told_with_the_remedy() {
    for (arguments, status, words) in [
        (&["--listen", "nowhere"][..], 1, "use --listen HOST:PORT, as in 127.0.0.1:9092"),
        (&["--brokers", "0"], 2, "0 is not in 1..=100"),
        (&["--retain", "lots"], 2, "use a number of bytes, with a unit if you like: 512MiB, 2GB"),
        (&["--advertise", ""], 2, "use a host's name or address"),
        (
            &["--listen", "127.0.0.1:65534", "--brokers", "3"],
            1,
            "3 brokers do not find room from port 65534 on",
        ),
        (&["--create-topics", "0"], 2, "0 is not in 1..=1000"),
        (&["--retain", "1MiB"], 2, "it takes at least 16.0 MiB"),
    ] {
        let ended = evenkeel(&[&["broker"], arguments].concat()).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(status), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
}

#[test]
fn topics_are_created_when_asked_for_if_that_is_wanted() {
    const GREETINGS: Topic<String> = Topic::new("greetings");
    // Metadata, version 4, of a topic that may be created: the library itself never asks so.
    let ask = b"\0\0\0\x1a\0\x03\0\x04\0\0\0\x07\xff\xff\0\0\0\x01\0\x09greetings\x01";
    let (_running, address) = Running::start(&["--create-topics", "3"]);
    let mut connection = TcpStream::connect(&address).unwrap();
    connection.write_all(ask).unwrap();
    connection.read_exact(&mut [0; 4]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bus = Bus::builder("cli").kafka(Kafka::new([address])).open().await.unwrap();
        bus.produce(GREETINGS.event("k", &"hello".to_owned())).await.unwrap();
    });
}

#[test]
fn log_lines_that_go_to_no_terminal_have_no_colours() {
    let (mut running, address) = Running::start(&[]);
    let mut connection = TcpStream::connect(&address).unwrap();
    connection.write_all(&[0xff; 16]).unwrap();
    assert!(matches!(connection.read(&mut [0]), Ok(0) | Err(_)), "the connection is closed");
    running.signal("-TERM");
    let mut told = String::new();
    running.0.stderr.take().expect("it is piped").read_to_string(&mut told).unwrap();
    assert!(told.contains("a malformed request") && !told.contains('\x1b'), "{told:?}");
}

#[test]
fn what_clients_are_told_can_differ_from_where_it_listens() {
    let (_running, addresses) = Running::start(&["--advertise", "kafka.test"]);
    let (host, port) = addresses.rsplit_once(':').expect("an address");
    assert_eq!(host, "kafka.test");
    assert!(TcpStream::connect(("127.0.0.1", port.parse().unwrap())).is_ok());
}

#[test]
fn help_tells_units_and_defaults() {
    let told = evenkeel(&["broker", "--help"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    for words in
        ["[default: 127.0.0.1:9092]", "[default: 1]", "[default: 1GiB]", "512MiB", "the oldest records go"]
    {
        assert!(told.contains(words), "{words:?} is missing in:\n{told}");
    }
}

/// Who uses the library compiles no broker and no command line.
#[test]
fn the_library_alone_brings_no_broker() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = |features: &[&str]| {
        let arguments = ["tree", "--package", "evenkeel", "--edges", "normal,build", "--prefix", "none"];
        let told = Command::new(&cargo)
            .args(arguments)
            .args(features)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap()
    };
    let (alone, with_broker) = (tree(&[]), tree(&["--features", "broker"]));
    for package in ["evenkeel-cluster ", "evenkeel-proxy ", "clap ", "tracing-subscriber "] {
        assert!(!alone.lines().any(|line| line.starts_with(package)), "{package} is in:\n{alone}");
        assert!(
            with_broker.lines().any(|line| line.starts_with(package)),
            "{package} is not in:\n{with_broker}"
        );
    }
}
