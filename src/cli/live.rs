//! Lines at the bottom of a terminal that change in place.

use super::layout::{WIDTH_LEAST, flow};
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Drawn at most so often.
const REDRAWN_EVERY: Duration = Duration::from_millis(50);

/// Stands between parts of a line that may be broken there.
pub const BETWEEN: &str = " · ";

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They change in place, on a terminal.
    InPlace,
    /// One plain line now and then: for files, pipes and terminals that cannot move a cursor.
    Plain(Duration),
    /// Nothing is drawn.
    Hidden,
}

/// The lines. Where they are not cleared before, they are when they are dropped.
///
/// The cursor stands at the beginning of the line below them: what a terminal echoes there, such as `^C`, neither moves
/// it to another line nor stays behind.
pub struct LiveLines {
    mode: Mode,
    drawn: Mutex<Drawn>,
}

#[derive(Default)]
struct Drawn {
    text: String,
    /// How long each line on the screen is, in characters.
    lengths: Vec<usize>,
    at: Option<Instant>,
}

impl LiveLines {
    /// Nothing is drawn yet.
    pub fn new(mode: Mode) -> LiveLines {
        LiveLines { mode, drawn: Mutex::default() }
    }

    /// Shows other lines. Parts between [`BETWEEN`] stay whole.
    pub fn set_message(&self, text: impl Into<String>) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text.into();
        let since = drawn.at.map(|at| at.elapsed());
        match self.mode {
            Mode::Hidden => {}
            Mode::Plain(every) => {
                // The first line is delayed too: at the start there are no figures.
                if drawn.at.is_none() {
                    drawn.at = Some(Instant::now());
                }
                if since.is_some_and(|since| since >= every) {
                    drawn.at = Some(Instant::now());
                    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(BETWEEN);
                    let _ = writeln!(io::stderr(), "{line}");
                }
            }
            Mode::InPlace => {
                if text != drawn.text && since.is_none_or(|since| since >= REDRAWN_EVERY) {
                    let _ = draw(&mut drawn, text);
                }
            }
        }
    }

    /// Takes the lines away, does something that writes, and shows them again below it.
    pub fn suspend(&self, write: impl FnOnce()) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mode != Mode::InPlace {
            return write();
        }
        let text = std::mem::take(&mut drawn.text);
        let _ = draw(&mut drawn, String::new());
        write();
        let _ = draw(&mut drawn, text);
    }

    /// Takes the lines away.
    pub fn finish_and_clear(&self) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mode == Mode::InPlace {
            let _ = draw(&mut drawn, String::new());
        }
    }
}

impl Drop for LiveLines {
    fn drop(&mut self) {
        self.finish_and_clear();
    }
}

/// Draws other lines over the present ones.
fn draw(drawn: &mut Drawn, text: String) -> io::Result<()> {
    let width = columns(io::stderr()).unwrap_or(80).max(WIDTH_LEAST);
    let (shown, lengths) = redrawn(&drawn.lengths, &text, width);
    let mut err = io::stderr().lock();
    err.write_all(shown.as_bytes())?;
    (drawn.text, drawn.lengths, drawn.at) = (text, lengths, Some(Instant::now()));
    err.flush()
}

/// The text that replaces lines of these lengths, and the lengths of the new ones.
fn redrawn(before: &[usize], text: &str, width: usize) -> (String, Vec<usize>) {
    // A terminal that became narrower has broken the lines that are there.
    let rows: usize = before.iter().map(|length| length.div_ceil(width).max(1)).sum();
    let mut shown = "\r".to_owned();
    if rows > 0 {
        shown.push_str(&format!("\x1b[{rows}A"));
    }
    shown.push_str("\x1b[J");
    let mut lengths = Vec::new();
    for line in text.lines() {
        let parts: Vec<String> = line.split(BETWEEN).map(str::to_owned).collect();
        // One column less: in the last one some terminals move on by themselves.
        for line in flow(&parts, BETWEEN, 2, width - 1) {
            shown.push_str(&line);
            shown.push('\n');
            lengths.push(line.chars().count());
        }
    }
    (shown, lengths)
}

/// The columns of a terminal; `None` for what is none.
pub fn columns(place: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(place).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_replace_those_before_and_leave_the_cursor_below() {
        let (first, lengths) = redrawn(&[], "1 charging · 2 kW", 80);
        assert_eq!((first.as_str(), lengths.as_slice()), ("\r\x1b[J1 charging · 2 kW\n", &[17][..]));
        let (second, lengths) = redrawn(&lengths, "1 charging · 2 kW", 20);
        assert_eq!((second.as_str(), lengths.len()), ("\r\x1b[1A\x1b[J1 charging · 2 kW\n", 1));
        let (cleared, lengths) = redrawn(&[17, 40], "", 20);
        assert_eq!((cleared.as_str(), lengths.len()), ("\r\x1b[3A\x1b[J", 0));
    }

    #[test]
    fn parts_of_a_line_stay_whole_in_a_narrow_terminal() {
        let (shown, _) = redrawn(&[], "40 charging · 12 settled · 1416 kW\nEUR 1800.00 held", 30);
        assert_eq!(shown, "\r\x1b[J40 charging · 12 settled\n  1416 kW\nEUR 1800.00 held\n");
    }
}
