//! What the system knows of this process and others. All of it reads 0 where there is no `/proc`.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Memory in use, in bytes.
pub fn memory() -> u64 {
    status("self", "VmRSS")
}

/// The most memory that was in use since the start or since [`forget_peak`], in bytes.
pub fn peak() -> u64 {
    status("self", "VmHWM")
}

/// The most memory that another process has had, in bytes; 0 once it has ended.
pub fn peak_of(process: u32) -> u64 {
    status(&process.to_string(), "VmHWM")
}

/// Lets the peak begin anew.
pub fn forget_peak() {
    // Where the system refuses, the peak is that since the start, which is no less.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status(process: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// Processor time of this process in seconds; Linux counts it in hundredths.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// This program once more, in another part: what it takes is counted apart. Ends when it is dropped.
#[derive(Debug)]
pub struct Part(Child);

impl Part {
    /// Starts it with these arguments, and gives what it says in its first line.
    ///
    /// # Errors
    /// When it cannot be started or says nothing.
    pub fn start(arguments: &[&str]) -> io::Result<(Self, String)> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let said = child.stdout.take().map(BufReader::new);
        let part = Self(child);
        said.ok_or(io::ErrorKind::BrokenPipe)?.read_line(&mut line)?;
        line.truncate(line.trim_end().len());
        Ok((part, line))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
