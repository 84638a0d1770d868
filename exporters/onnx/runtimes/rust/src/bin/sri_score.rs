//! Scores signals with a bundle, as `sri score --json` does.
//!
//! Verdicts go to standard output, one JSON object per line; a refusal is one line on standard error. Exit code: 0 done,
//! 1 refused, 2 called wrongly. `-` reads signals from standard input.
//!
//! `--check-many` opens many bundles in one process, for tests of damage: each line of standard input is the path of a
//! bundle, or path, file, byte and mask separated by tabs: the byte is changed (XOR) in memory before the bundle is opened.
//! It answers every line with `ok` and the digest, or `refused` and the reason.
//!
//! `--score-many` makes many calls in one process: each line of standard input has the words of one, separated by tabs.
//! Behind the verdicts of each call stands a line `done`, its exit code and, where it was refused, the reason.

use std::fs::File;
use std::io::{stdin, BufRead, BufReader};
use std::process::ExitCode;

use sri_guard::signals::Signals;
use sri_guard::{read_folder, Guard, Options, Rule};

const USAGE: &str =
    "usage: sri_score BUNDLE SIGNALS.jsonl [--rule final|online|request] [--accept FIELD]... [--unverified] [--digest HEX]
       sri_score --check BUNDLE [--digest HEX]
       sri_score --check-many < VARIANTS
       sri_score --score-many < CALLS";

#[derive(Default)]
struct Arguments {
    paths: Vec<String>,
    rule: Rule,
    accept: Vec<String>,
    unverified: bool,
    digest: Option<String>,
    check: bool,
    check_many: bool,
    score_many: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut found = Arguments::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--check" => found.check = true,
            "--check-many" => found.check_many = true,
            "--score-many" => found.score_many = true,
            "--unverified" => found.unverified = true,
            "--digest" => found.digest = Some(words.next()?),
            "--accept" => found.accept.push(words.next()?),
            "--rule" => {
                found.rule = match words.next()?.as_str() {
                    "final" => Rule::Final,
                    "online" => Rule::Online,
                    "request" => Rule::Request,
                    _ => return None,
                }
            }
            other if other.starts_with("--") => return None,
            _ => found.paths.push(word),
        }
    }
    let paths = match (found.check_many || found.score_many, found.check) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    (found.paths.len() == paths).then_some(found)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let guard = Guard::open(&arguments.paths[0], arguments.digest.as_deref())?;
    if arguments.check {
        println!("ok\t{}", guard.digest());
        return Ok(());
    }
    let source = arguments.paths[1].as_str();
    let signals = if source == "-" {
        Signals::read(stdin().lock(), "standard input", &guard)?
    } else {
        let file = File::open(source).map_err(|err| format!("{source}: cannot be read ({err})."))?;
        Signals::read(BufReader::new(file), source, &guard)?
    };
    let accept: Vec<&str> = arguments.accept.iter().map(String::as_str).collect();
    let options = Options {
        rule: arguments.rule,
        fingerprint: signals.fingerprint.as_deref(),
        accept: &accept,
        unverified: arguments.unverified,
        groups: &signals.groups,
    };
    let verdicts = guard.score(&signals.cells, Some(&signals.lengths), &options)?;
    for (id, verdict) in signals.ids.iter().zip(verdicts) {
        println!("{}", verdict.to_json(id));
    }
    Ok(())
}

fn check_variant(line: &str) -> Result<Guard, Box<dyn std::error::Error>> {
    let fields: Vec<&str> = line.split('\t').collect();
    let mut files = read_folder(fields[0])?;
    if let [_, name, at, mask] = fields[..] {
        let byte = files.get_mut(name).and_then(|bytes| bytes.get_mut(at.parse::<usize>().ok()?));
        *byte.ok_or("no such byte")? ^= mask.parse::<u8>()?;
    }
    Ok(Guard::from_files(fields[0], &files, None)?)
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if arguments.check_many {
        for line in stdin().lock().lines().map_while(Result::ok) {
            match check_variant(&line) {
                Ok(guard) => println!("ok\t{}", guard.digest()),
                Err(err) => println!("refused\t{err}"),
            }
        }
        return ExitCode::SUCCESS;
    }
    if arguments.score_many {
        for line in stdin().lock().lines().map_while(Result::ok) {
            match parse(line.split('\t').map(String::from)).filter(|call| !call.paths.is_empty()).map(|call| run(&call))
            {
                Some(Ok(())) => println!("done\t0"),
                Some(Err(err)) => println!("done\t1\t{err}"),
                None => println!("done\t2"),
            }
        }
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err}");
            ExitCode::from(1)
        }
    }
}
