//! What the demonstration shows on a terminal, in a pipe, and after it was interrupted.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// As much of a terminal as the program uses.
struct Screen {
    width: usize,
    lines: Vec<String>,
    row: usize,
    column: usize,
    /// Lines that were longer than the terminal, with what went on the next row.
    broken: Vec<String>,
}

impl Screen {
    fn new(width: usize) -> Screen {
        Screen { width, lines: vec![String::new()], row: 0, column: 0, broken: Vec::new() }
    }

    fn write(&mut self, text: &str) {
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\r' => self.column = 0,
                '\n' => self.go_to(self.row + 1),
                '\u{1b}' if letters.peek() == Some(&'[') => {
                    letters.next();
                    let mut number = String::new();
                    let command = letters.by_ref().find(|letter| {
                        let part = letter.is_ascii_digit() || *letter == ';';
                        number.extend(part.then_some(*letter));
                        !part
                    });
                    match command {
                        Some('A') => self.row = self.row.saturating_sub(number.parse().unwrap_or(1)),
                        Some('J') => {
                            self.lines.truncate(self.row + 1);
                            let kept: String = self.lines[self.row].chars().take(self.column).collect();
                            self.lines[self.row] = kept;
                        }
                        Some('m') => {}
                        other => panic!("an escape sequence that this screen does not know: {other:?}"),
                    }
                }
                letter => self.put(letter),
            }
        }
    }

    fn go_to(&mut self, row: usize) {
        self.row = row;
        while self.lines.len() <= row {
            self.lines.push(String::new());
        }
    }

    fn put(&mut self, letter: char) {
        if self.column == self.width {
            self.broken.push(self.lines[self.row].clone());
            self.go_to(self.row + 1);
            self.column = 0;
        }
        let mut line: Vec<char> = self.lines[self.row].chars().collect();
        line.resize(line.len().max(self.column + 1), ' ');
        line[self.column] = letter;
        self.lines[self.row] = line.into_iter().collect();
        self.column += 1;
    }
}

/// Runs the demonstration on a pseudo-terminal and presses ^C after a while.
fn demonstration_on_a_terminal(width: usize) -> Option<(Screen, String)> {
    let folder = tempfile::tempdir().unwrap();
    let shell = format!("stty cols {width} rows 50; exec {} demo", env!("CARGO_BIN_EXE_wattstile"));
    let mut script = Command::new("script")
        .args(["-q", "-e", "-c", &shell, "/dev/null"])
        .current_dir(folder.path())
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut keys = script.stdin.take().unwrap();
    let pressing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(9));
        keys.write_all(b"\x03").unwrap();
        std::thread::sleep(Duration::from_secs(25));
    });
    let mut written = Vec::new();
    script.stdout.take().unwrap().read_to_end(&mut written).unwrap();
    assert!(script.wait().unwrap().success());
    drop(pressing);
    let written = String::from_utf8(written).unwrap();
    let mut screen = Screen::new(width);
    screen.write(&written);
    let file = folder.path().join(".wattstile/demo/data/console.json");
    assert!(!file.exists(), "the console is closed");
    Some((screen, written))
}

#[test]
fn the_demonstration_breaks_no_word_and_leaves_no_line_behind() {
    let widths = [80, 60].map(|width| std::thread::spawn(move || (width, demonstration_on_a_terminal(width))));
    for running in widths {
        let (width, Some((screen, written))) = running.join().unwrap() else {
            panic!("`script`, which makes a pseudo-terminal, is not installed");
        };
        let shown = screen.lines.join("\n");
        assert!(screen.broken.is_empty(), "{width}: {:?}\n{shown}", screen.broken);
        assert!(written.contains("readings/s"), "the live lines were there: {shown}");
        assert!(!shown.contains("readings/s"), "{width}: {shown}");
        assert!(!written.contains("token="), "{written}");
        assert!(shown.contains("/metrics\n"), "{shown}");
        assert!(shown.contains("wattstile receipt show --last"), "{shown}");
        assert!(shown.contains("Receipt R-"), "{shown}");
        assert!(shown.contains("total EUR"), "{shown}");
        assert!(shown.contains("acknowledged in this run"), "{shown}");
        assert!(!shown.contains("durable"), "{shown}");
    }
}

#[test]
fn in_a_pipe_the_demonstration_tells_plain_lines() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wattstile"))
        .args(["demo", "--for", "12s"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.lines().any(|line| line.contains(" charging · ") && line.contains("readings/s")), "{told}");
    assert!(!told.contains('\r') && !told.contains('\u{1b}'), "{told}");
    assert!(!told.contains("token"), "{told}");
}
