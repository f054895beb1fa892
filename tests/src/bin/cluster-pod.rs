//! What runs in the containers of a real node, and does what its image's name says, as the pods of
//! a fake node do:
//!
//! - `serve` (the default): answers HTTP on `PORT` (8080) with `PAGE`, else with the image's name;
//!   `/ready` with 200 or 503. With `complete`, `fail` or `crashloop` as the last word of the image's
//!   tag it ends instead; with `slow` it is ready after 5 s, with `unready` never.
//! - `get URL`: prints what a server says, and fails if it says anything but 200.
//! - `pause`: holds a pod's namespaces.

#![expect(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long a `slow` one takes until it is ready.
const SLOW: Duration = Duration::from_secs(5);

/// How long one connection may take.
const LIMIT: Duration = Duration::from_secs(10);

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["pause"] => loop {
            std::thread::park();
        },
        [] | ["serve"] => serve(),
        ["get", url] => get(url),
        other => bail!("{other:?}: use serve, get URL or pause"),
    }
}

fn serve() -> Result<ExitCode> {
    let image = std::env::var("IMAGE").unwrap_or_default();
    let word = image.rsplit([':', '-']).next().unwrap_or_default().to_owned();
    println!("this is {image}");
    match word.as_str() {
        "complete" => return Ok(ExitCode::SUCCESS),
        "fail" | "crashloop" => {
            println!("ending with 1, as {image} does");
            return Ok(ExitCode::FAILURE);
        }
        _ => {}
    }
    let began = Instant::now();
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port: u16 = port.parse().context("PORT is a number")?;
    let page = std::env::var("PAGE").unwrap_or(image);
    let listener = TcpListener::bind(("0.0.0.0", port)).context("listening")?;
    for stream in listener.incoming() {
        let ready = match word.as_str() {
            "unready" => false,
            "slow" => began.elapsed() >= SLOW,
            _ => true,
        };
        // Who hangs up is not answered.
        stream.map_err(anyhow::Error::from).and_then(|stream| answer(stream, &page, ready)).ok();
    }
    Ok(ExitCode::FAILURE)
}

fn answer(stream: TcpStream, page: &str, ready: bool) -> Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut lines = BufReader::new(&stream).take(16_384).lines();
    let request = lines.next().context("a request")??;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let status = if request.contains(" /ready") && !ready { "503 Not Ready" } else { "200 OK" };
    let length = page.len() + 1;
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
    write!(&stream, "{head}\r\n{page}\n")?;
    Ok(())
}

fn get(url: &str) -> Result<ExitCode> {
    let rest = url.strip_prefix("http://").context("only http:// is spoken")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut addresses = address.to_socket_addrs().with_context(|| format!("resolving {host}"))?;
    let address = addresses.next().context("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).context("connecting")?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1_048_576).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer of HTTP")?;
    print!("{body}");
    let good = head.lines().next().is_some_and(|line| line.contains(" 200 "));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
