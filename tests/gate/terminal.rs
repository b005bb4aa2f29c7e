//! What the demonstration shows on a terminal, in a pipe, and after it was interrupted.

use crate::common::Served;
use crate::common::business::Business;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// Runs the demonstration on a pseudo-terminal and presses ^C when it has shown its first receipt, or when that does not come.
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
    let (mut out, mut written, mut pressed) = (script.stdout.take().unwrap(), Vec::new(), false);
    let since = Instant::now();
    let mut room = [0; 4_096];
    loop {
        let fresh = out.read(&mut room).unwrap();
        written.extend_from_slice(&room[..fresh]);
        let text = String::from_utf8_lossy(&written);
        let is_shown = text.contains("total EUR") && text.contains("readings/s");
        if !pressed && (is_shown || since.elapsed() > Duration::from_secs(60)) {
            pressed = true;
            keys.write_all(b"\x03").unwrap();
        }
        if fresh == 0 {
            break;
        }
    }
    assert!(script.wait().unwrap().success());
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
        .args(["demo", "--for", "20s"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(printed.lines().any(|line| line.contains(" charging · ") && line.contains("readings/s")), "{printed}");
    assert!(!printed.contains('\r') && !printed.contains('\u{1b}'), "{printed}");
    assert!(!printed.contains("token"), "{printed}");
}

/// Spellings that earlier versions had, in the README, the manual or the tests, with what they are called now.
const OLD_SPELLINGS: [(&[&str], &str); 13] = [
    (&["demo", "--dir"], "--data"),
    (&["sim", "chaos", "--dir"], "--data"),
    (&["replay", "--zone"], "--timezone"),
    (&["replay", "--connect"], "--gate"),
    (&["sim", "fleet", "--patience"], "--grace"),
    (&["tariff", "price", "--zone"], "--timezone"),
    (&["tariff", "diff", "--zone"], "--timezone"),
    (&["account", "topup"], "top-up"),
    (&["replay", "--patience"], "--timeout"),
    (&["bench", "--patience"], "--timeout"),
    (&["simulate", "--seed"], "--seed"),
    (&["simulate", "--hours"], "--hours"),
    (&["simulate", "--faults"], "--faults"),
];

#[test]
fn old_spellings_are_understood_and_not_shown() {
    for (typed, now) in OLD_SPELLINGS {
        let output = Command::new(env!("CARGO_BIN_EXE_wattstile")).args(typed).output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        // The missing part is a value or another argument, never the old spelling itself.
        assert!(!printed.contains("unexpected argument") && !printed.contains("unrecognized"), "{typed:?}: {printed}");
        let (old, verb) = typed.split_last().unwrap();
        let help = |verb: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_wattstile")).args(verb).arg("--help").output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let shown = help(verb);
        assert!(shown.contains(now), "{typed:?}: {now}: {shown}");
        let is_old = |word: &str| word == *old && word != now;
        assert!(!shown.split_whitespace().any(is_old), "{typed:?}: {shown}");
    }
    let help = |verb: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_wattstile")).args([verb, "--help"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!help("--quiet").contains("simulate "), "`simulate` is `sim world`");
    assert!(help("sim").contains("world "));
}

#[test]
fn help_of_every_command_fits_eighty_columns_and_has_none_of_the_retired_phrases() {
    let retired = [
        "about nothing",
        "patience",
        "it has it finishes",
        "said twice",
        "paid afterwards",
        "its name there",
        "youngest",
        "dialled in",
        "dial in",
        "not believed",
        "everybody",
        "nobody",
        "topup",
    ];
    let mut seen = 0;
    let mut open = vec![Vec::<String>::new()];
    while let Some(verb) = open.pop() {
        let output = Command::new(env!("CARGO_BIN_EXE_wattstile")).args(&verb).arg("--help").output().unwrap();
        assert!(output.status.success(), "{verb:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        for line in help.lines() {
            assert!(
                line.chars().count() <= 80
                    || ["wattstile ", "Usage: "].iter().any(|start| line.trim_start().starts_with(start)),
                "{verb:?}: {line}"
            );
        }
        for phrase in retired {
            assert!(!help.contains(phrase), "{verb:?}: {phrase}: {help}");
        }
        let commands = help.split_once("\nCommands:\n").map_or("", |(_, commands)| commands);
        let commands = commands.lines().take_while(|line| !line.is_empty());
        let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            open.push([verb.clone(), vec![name.to_owned()]].concat());
        }
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn manual_is_read_without_the_documentation_of_the_code() {
    let manual = |page: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_wattstile")).arg("manual").args(page).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, list, _) = manual(&[]);
    assert_eq!(code, 0);
    for page in list.lines().skip(1).map_while(|line| line.split_whitespace().next()) {
        let (code, text, error) = manual(&[page]);
        assert_eq!((code, error.as_str()), (0, ""), "{page}");
        assert!(text.starts_with("# ") && !text.contains("](crate::") && !text.contains('\u{1b}'), "{page}: {text}");
    }
    let (code, _, error) = manual(&["nope"]);
    assert_eq!(code, 3);
    assert!(error.contains("pages: architecture, glossary, installation"), "{error}");
}

/// The live view on a pseudo-terminal: it is drawn, follows, and leaves the terminal as it was.
#[test]
fn top_is_drawn_on_a_terminal_and_leaves_it_as_it_was() {
    let mut gate = Served::start(&["log.level=warn"]);
    let business = Business::begin(&mut gate, 3, 61);
    let data = gate.data_dir().display();
    let shell = format!("stty cols 100 rows 40; exec {} top --data {data}", env!("CARGO_BIN_EXE_wattstile"));
    let mut script = Command::new("script")
        .args(["-q", "-e", "-c", &shell, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script`, which makes a pseudo-terminal, is installed");
    let (mut keys, mut out) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (mut written, mut room, mut pressed) = (Vec::new(), [0; 4_096], false);
    let since = Instant::now();
    loop {
        let fresh = out.read(&mut room).unwrap();
        if fresh == 0 {
            break;
        }
        written.extend_from_slice(&room[..fresh]);
        let text = String::from_utf8_lossy(&written);
        let is_shown = text.contains("acme-cards") && text.contains("CHG-00");
        if !pressed && (is_shown || since.elapsed() > Duration::from_secs(60)) {
            pressed = true;
            keys.write_all(b"q").unwrap();
        }
    }
    assert!(script.wait().unwrap().success());
    business.finish().assert_promises_kept();
    let written = String::from_utf8(written).unwrap();
    for part in ["Charging", "Money", "Processors", "acme-cards", "Events", "CHG-00"] {
        assert!(written.contains(part), "{part}: {written:?}");
    }
    let (enters, leaves) = (written.find("\u{1b}[?1049h"), written.rfind("\u{1b}[?1049l"));
    assert!(enters.is_some() && leaves > enters, "the other screen is left: {written:?}");
}

#[test]
fn top_writes_one_picture_as_text_or_as_a_document() {
    let mut gate = Served::start(&["log.level=warn"]);
    let business = Business::begin(&mut gate, 3, 62);
    let top = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattstile"));
        command.arg("top").args(arguments).arg("--data").arg(gate.data_dir()).output().unwrap()
    };
    std::thread::sleep(Duration::from_secs(2));
    let picture = top(&["--once"]);
    assert!(picture.status.success(), "{}", String::from_utf8_lossy(&picture.stderr));
    let picture = String::from_utf8(picture.stdout).unwrap();
    for part in ["charging", "kW", "EUR held", "the books balance", "acme-cards", "shards answer"] {
        assert!(picture.contains(part), "{part}: {picture}");
    }
    assert!(!picture.contains('\u{1b}') && picture.lines().all(|line| line.chars().count() <= 100), "{picture}");
    let document: serde_json::Value = serde_json::from_slice(&top(&["--json"]).stdout).unwrap();
    assert_eq!(document["schema"], "wattstile.top/1");
    assert_eq!(document["processors"][0]["id"], "acme-cards");
    let refused = top(&[]);
    assert_eq!(refused.status.code(), Some(2), "no terminal, and no --once");
    business.finish().assert_promises_kept();
}
