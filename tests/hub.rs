//! Downloads against a stand-in for the Hub on the loopback address. What it answers follows what
//! the Hub answers to `huggingface_hub`: HEAD with ETag, X-Repo-Commit, X-Linked-*, redirects to a
//! storage host, X-Error-Code on refusals.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use partial_res::hub::{Hub, HubError, RepositoryId};
use sha2::{Digest, Sha256};

const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[derive(Default)]
struct Log {
    /// Method, path and headers of every request.
    requests: Vec<(String, String, HashMap<String, String>)>,
}

struct StandIn {
    address: String,
    log: Arc<Mutex<Log>>,
}

fn weights() -> Vec<u8> {
    (0..200_000u32).map(|i| (i * 7 % 251) as u8).collect()
}

impl StandIn {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Log::default()));
        let (own, seen) = (address.clone(), log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &own, &seen);
            }
        });
        Self { address, log }
    }

    fn hub(&self, cache: &tempfile::TempDir) -> Hub {
        Hub::new(&self.address, cache.path().into(), Some("secret".into()), false)
    }

    fn ranges(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.requests.iter().filter_map(|(_, _, headers)| headers.get("range").cloned()).collect()
    }
}

fn answer(mut stream: TcpStream, own: &str, log: &Mutex<Log>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let tries = {
        let mut log = log.lock().unwrap();
        log.requests.push((method.clone(), path.clone(), headers.clone()));
        log.requests.iter().filter(|r| r.0 == method && r.1 == path).count()
    };
    let range: usize = headers
        .get("range")
        .map_or(0, |r| r.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
    let file = weights();
    let etag = format!("ETag: \"{}\"", sha256(&file));
    let commit = format!("X-Repo-Commit: {COMMIT}");
    let mut send = |status: &str, head: &[String], body: &[u8], announced: usize| {
        let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {announced}\r\n");
        head.iter().for_each(|line| text += &format!("{line}\r\n"));
        stream.write_all((text + "\r\n").as_bytes()).unwrap();
        if method == "GET" {
            stream.write_all(body).unwrap();
        }
    };
    let error = |code: &str| vec![format!("X-Error-Code: {code}")];
    match path.as_str() {
        "/api/models/acme/seqtr/revision/main" => {
            let body = format!(
                r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"model.safetensors"}},{{"rfilename":"sub/big.bin"}}]}}"#
            );
            send("200 OK", &[], body.as_bytes(), body.len());
        }
        "/acme/seqtr/resolve/main/model.safetensors" => send("200 OK", &[etag, commit], &file, file.len()),
        "/acme/seqtr/resolve/main/sub/big.bin" => {
            let linked = [
                format!("X-Linked-Size: {}", file.len()),
                format!("X-Linked-{etag}"),
                commit,
                format!("Location: {own}/storage"),
            ];
            send("302 Found", &linked, b"", 0);
        }
        // Small files lie in git, elsewhere within the Hub; the answer has a text of its own.
        "/acme/seqtr/resolve/main/config.toml" => {
            let place = "Location: /api/resolve-cache/models/acme/seqtr/config.toml".to_owned();
            send("307 Temporary Redirect", &[etag, commit, place], b"sent on", 7)
        }
        "/api/resolve-cache/models/acme/seqtr/config.toml" => {
            send("200 OK", &[etag, commit], &file, file.len())
        }
        // The first answer breaks off in the middle.
        "/storage" if tries == 1 => send("200 OK", &[], &file[..70_000], file.len()),
        "/storage" => send("206 Partial Content", &[], &file[range..], file.len() - range),
        "/acme/seqtr/resolve/main/damaged.bin" => {
            send("200 OK", &[etag, commit], &vec![9; file.len()], file.len())
        }
        "/acme/seqtr/resolve/main/page.bin" => {
            let page = b"<!DOCTYPE html><html>Log in to the hotel's network</html>";
            let kind = "Content-Type: text/html".to_owned();
            send("200 OK", &[etag, commit, kind], page, page.len());
        }
        // A storage that sends more than was announced.
        "/acme/seqtr/resolve/main/long.bin" => {
            let size = format!("X-Linked-Size: {}", file.len() - 10);
            send("200 OK", &[size, etag, commit], &file, file.len())
        }
        "/api/models/acme/originals/revision/main" => {
            let body = format!(
                r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"README.md"}},{{"rfilename":"det_best.pth"}},{{"rfilename":"yolov3.weights"}}]}}"#
            );
            send("200 OK", &[], body.as_bytes(), body.len());
        }
        "/acme/originals/resolve/main/det_best.pth" | "/acme/originals/resolve/main/yolov3.weights" => {
            send("200 OK", &[etag, commit], &file, file.len())
        }
        // A commit that is a path: what is noted about it would be written there.
        "/api/models/acme/escape/revision/main" => {
            let body = r#"{"sha":"../../../victim","siblings":[{"rfilename":"model.safetensors"}]}"#;
            send("200 OK", &[], body.as_bytes(), body.len());
        }
        path if path.starts_with("/acme/escape/resolve/") => {
            send("200 OK", &[etag, commit], &file, file.len())
        }
        "/api/models/acme/gated/revision/main" => send("403 Forbidden", &error("GatedRepo"), b"", 0),
        "/api/models/acme/private/revision/main" => send("401 Unauthorized", &error("RepoNotFound"), b"", 0),
        "/api/models/acme/seqtr/revision/v9" => send("404 Not Found", &error("RevisionNotFound"), b"", 0),
        path if path.starts_with("/acme/seqtr/resolve/") => {
            send("404 Not Found", &error("EntryNotFound"), b"", 0)
        }
        _ => send("404 Not Found", &error("RepoNotFound"), b"", 0),
    }
}

fn seqtr() -> RepositoryId {
    "acme/seqtr".parse().unwrap()
}

fn read(path: PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_file_comes_once_and_is_then_found_without_a_network() {
    let (server, cache) = (StandIn::start(), tempfile::tempdir().unwrap());
    let hub = server.hub(&cache);
    assert_eq!(hub.list(&seqtr(), "main").unwrap().files, ["model.safetensors", "sub/big.bin"]);
    let path = hub.file(&seqtr(), "main", "model.safetensors", &mut ()).unwrap();
    assert_eq!(read(path.clone()), weights());
    hub.file(&seqtr(), "main", "model.safetensors", &mut ()).unwrap();
    let gets = server
        .log
        .lock()
        .unwrap()
        .requests
        .iter()
        .filter(|r| r.0 == "GET" && r.1.contains("resolve"))
        .count();
    assert_eq!(gets, 1, "the second time must come from the cache");

    let offline = Hub::new("http://127.0.0.1:9", cache.path().into(), None, true);
    assert_eq!(offline.file(&seqtr(), "main", "model.safetensors", &mut ()).unwrap(), path);
    assert_eq!(offline.list(&seqtr(), "main").unwrap().files, ["model.safetensors"]);
    let missing = offline.file(&seqtr(), "main", "sub/big.bin", &mut ()).unwrap_err();
    assert!(missing.to_string().contains("HF_HUB_OFFLINE"), "{missing}");
}

#[test]
fn a_small_file_is_followed_within_the_hub() {
    let (hub, cache) = (StandIn::start(), tempfile::tempdir().unwrap());
    let path = hub.hub(&cache).file(&seqtr(), "main", "config.toml", &mut ()).unwrap();
    assert_eq!(read(path), weights());
    let log = hub.log.lock().unwrap();
    let place = "/api/resolve-cache/models/acme/seqtr/config.toml";
    let there = log.requests.iter().filter(|(_, path, _)| path == place);
    assert!(there.clone().all(|(_, _, headers)| headers.contains_key("authorization")));
    assert_eq!(there.map(|(method, ..)| method.as_str()).collect::<Vec<_>>(), ["HEAD", "GET"]);
}

#[test]
fn processes_that_ask_together_get_a_file_each() {
    let (hub, cache) = (StandIn::start(), tempfile::tempdir().unwrap());
    std::thread::scope(|scope| {
        let ask = || hub.hub(&cache).file(&seqtr(), "main", "model.safetensors", &mut ()).unwrap();
        let both = [scope.spawn(ask), scope.spawn(ask)];
        for one in both {
            assert_eq!(read(one.join().unwrap()), weights());
        }
    });
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let (server, cache) = (StandIn::start(), tempfile::tempdir().unwrap());
    let hub = server.hub(&cache);
    let broken = hub.file(&seqtr(), "main", "sub/big.bin", &mut ()).unwrap_err();
    assert!(matches!(broken, HubError::Interrupted { found: 70_000, expected: 200_000, .. }), "{broken}");
    assert_eq!(read(hub.file(&seqtr(), "main", "sub/big.bin", &mut ()).unwrap()), weights());
    assert_eq!(server.ranges().last().unwrap(), "bytes=70000-");
}

#[test]
fn what_differs_from_its_hash_is_not_kept() {
    let (server, cache) = (StandIn::start(), tempfile::tempdir().unwrap());
    let hub = server.hub(&cache);
    let error = hub.file(&seqtr(), "main", "damaged.bin", &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Corrupt { kind: "SHA-256", .. }), "{error}");
    let error = hub.file(&seqtr(), "main", "long.bin", &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Corrupt { kind: "size", .. }), "{error}");
    let blobs = cache.path().join("models--acme--seqtr/blobs");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
}

#[test]
fn the_program_heeds_the_environment_and_names_the_conversion() {
    let (server, home) = (StandIn::start(), tempfile::tempdir().unwrap());
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_partial-res"));
        command.args(arguments).current_dir(home.path()).env("HF_HOME", home.path());
        command.env("HF_ENDPOINT", &server.address).env("HF_TOKEN", "mine").env_remove("HF_HUB_OFFLINE");
        command
    };
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.success(), out, err)
    };
    for command in [["download", "acme/originals"].as_slice(), &["eval", "--checkpoint", "acme/originals"]] {
        let (done, _, err) = said(&mut program(command));
        assert!(!done && err.contains("has no model.safetensors but det_best.pth"), "{err}");
        assert!(err.contains("download acme/originals --file det_best.pth"), "{err}");
        assert!(err.contains("cargo convert checkpoint FILE --config CONFIG --vocabulary DIR"), "{err}");
    }
    let fetch = ["download", "acme/originals", "--file", "yolov3.weights"];
    let (done, out, err) = said(&mut program(&fetch));
    assert!(done && err.contains(&format!("next: cargo convert darknet {}", out.trim())), "{out}{err}");
    assert_eq!(read(out.trim().into()), weights());
    assert!(PathBuf::from(out.trim()).starts_with(home.path().join("hub/models--acme--originals")), "{out}");
    {
        let log = server.log.lock().unwrap();
        assert!(log.requests.iter().all(|(_, _, headers)| headers["authorization"] == "Bearer mine"));
    }

    let (done, again, _) = said(program(&fetch).env("HF_HUB_OFFLINE", "1"));
    assert!(done && again == out, "{again}");
    let (done, _, err) = said(program(&["download", "acme/other"]).env("HF_HUB_OFFLINE", "1"));
    assert!(!done && err.contains("HF_HUB_OFFLINE is set and acme/other is not in the cache"), "{err}");
}

#[test]
fn a_commit_that_is_a_path_writes_nothing_elsewhere() {
    let (server, home) = (StandIn::start(), tempfile::tempdir().unwrap());
    let victim = home.path().join("victim");
    std::fs::write(&victim, "mine").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_partial-res"));
    command.args(["download", "acme/escape"]).env("HF_HOME", home.path()).env("HF_ENDPOINT", &server.address);
    let output = command.env_remove("HF_HUB_OFFLINE").output().unwrap();
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "mine");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("did not answer as the Hub does: commit `../../../victim`"), "{said}");
}

#[test]
fn each_failure_has_its_own_message() {
    let (server, cache) = (StandIn::start(), tempfile::tempdir().unwrap());
    let hub = server.hub(&cache);
    let list =
        |name: &str, revision: &str| hub.list(&name.parse().unwrap(), revision).unwrap_err().to_string();
    let file = |name: &str| hub.file(&seqtr(), "main", name, &mut ()).unwrap_err().to_string();
    assert!(list("acme/gated", "main").contains("accept its conditions"));
    assert!(list("acme/private", "main").contains("set HF_TOKEN"));
    assert!(list("acme/nothing", "main").contains("there is no repository acme/nothing"));
    assert!(list("acme/seqtr", "v9").contains("no revision `v9`"));
    assert!(file("page.bin").contains("a web page instead of a file"));
    let absent = file("modle.safetensors");
    assert!(absent.contains("it has model.safetensors"), "{absent}");
    assert!(file("../../escape").contains("unsafe path"));
    let nobody = Hub::new("http://127.0.0.1:9", cache.path().into(), None, false);
    assert!(nobody.list(&seqtr(), "main").unwrap_err().to_string().contains("check the network"));
}
