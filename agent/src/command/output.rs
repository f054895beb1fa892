//! What a command prints: shown line by line at once, and its end kept for the log.

use std::collections::VecDeque;

use lockstep_shared::{fold, record::MAX_OUTPUT_BYTES};
use tokio::net::unix::pipe::Receiver;

/// How many lines of output a record carries.
const MAX_LINES: usize = 64;

/// A longer line is shown and kept in pieces, so that no output fills the memory.
const MAX_LINE_BYTES: usize = 4096;

/// How much is still read after a command's end: what was in the pipe, not what its daemons add.
const MAX_DRAIN_BYTES: usize = 1024 * 1024;

/// The last lines of an output.
#[derive(Debug, Default)]
pub struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    /// Adds a line, and gives up the oldest ones that are too many.
    pub fn push(&mut self, line: String) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > 2 * MAX_OUTPUT_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len() + 1;
        }
    }

    /// The lines as one text that fits into a record.
    pub fn text(&self) -> String {
        let text = self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        fold::tail(&text, MAX_OUTPUT_BYTES).to_owned()
    }
}

/// The reading end of a command's output.
pub(super) struct Output {
    pipe: Option<Receiver>,
    partial: Vec<u8>,
    tail: Tail,
    show: Box<dyn Fn(&str) + Send + Sync>,
}

impl Output {
    pub(super) fn new(pipe: Receiver, show: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Self { pipe: Some(pipe), partial: Vec::new(), tail: Tail::default(), show }
    }

    /// Reads for as long as it is polled. Never done, and safe to drop between two reads.
    pub(super) async fn pump(&mut self) -> std::convert::Infallible {
        loop {
            match &self.pipe {
                Some(pipe) => match pipe.readable().await {
                    Ok(()) => {
                        self.read_available();
                    }
                    Err(_) => self.pipe = None,
                },
                None => std::future::pending().await,
            }
        }
    }

    /// Takes what is in the pipe by now, without waiting for whoever else may hold it open.
    pub(super) fn drain(mut self) -> String {
        let mut taken = 0;
        while self.pipe.is_some() && taken < MAX_DRAIN_BYTES {
            match self.read_available() {
                0 => break,
                count => taken += count,
            }
        }
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(&line);
        }
        self.tail.text()
    }

    fn read_available(&mut self) -> usize {
        let mut buffer = [0; 8192];
        let Some(pipe) = &self.pipe else { return 0 };
        match pipe.try_read(&mut buffer) {
            Ok(0) => {
                self.pipe = None;
                0
            }
            Ok(count) => {
                self.take(&buffer[..count]);
                count
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.pipe = None;
                0
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.partial.push(byte);
            }
            if byte == b'\n' || self.partial.len() >= MAX_LINE_BYTES {
                let line = std::mem::take(&mut self.partial);
                self.line(&line);
            }
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        let line = printable(&String::from_utf8_lossy(bytes));
        (self.show)(&line);
        self.tail.push(line);
    }
}

/// Without colours and other orders to a terminal: the text ends up in logs, pages and messages.
fn printable(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' if characters.next_if_eq(&'[').is_some() => {
                // A control sequence ends with its first byte from '@' to '~'.
                for part in characters.by_ref() {
                    if ('@'..='~').contains(&part) {
                        break;
                    }
                }
            }
            '\t' => shown.push('\t'),
            character if character.is_control() => {}
            character => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_lines_and_fits_into_a_record() {
        let mut tail = Tail::default();
        for number in 0..1000 {
            tail.push(format!("line {number}"));
        }
        let text = tail.text();
        assert_eq!(text.lines().count(), 64);
        assert!(text.ends_with("line 999"));
        for _ in 0..64 {
            tail.push("\"".repeat(4096));
        }
        let stored = serde_json::to_string(&tail.text()).unwrap();
        assert!(stored.len() <= MAX_OUTPUT_BYTES + 2, "{}", stored.len());
    }

    #[test]
    fn colours_and_orders_to_the_terminal_are_left_out() {
        assert_eq!(printable("\u{1b}[1;31mred\u{1b}[0m\ttext\r\u{7}"), "red\ttext");
        assert_eq!(printable("\u{1b}]0;title"), "]0;title");
    }
}
