//! The listener for metrics: known traffic is found there, and nothing else is.

use crate::client::{Answer, Client};
use crate::place::{Place, Running};

#[test]
fn what_was_asked_of_the_service_is_told_on_the_other_address() {
    let place = Place::new();
    let mut service = serve(&place);
    let mut ops = ops_of(&mut service);
    let tokens = service.register("ada@example.org");
    for _ in 0..3 {
        let answer = service.connect().me(&tokens).expect("answered");
        assert_eq!(answer.status, 200);
    }
    let answer = service.connect().refresh(&tokens, None).expect("answered");
    assert_eq!(answer.status, 200);

    let answer = get(&mut ops, "/metrics");
    assert_eq!(answer.status, 200);
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(format));
    let page = answer.text();
    for line in [
        r#"keyward_http_requests_total{route="/api/auth/me",method="GET",status="200"} 3"#,
        r#"keyward_http_requests_total{route="/api/auth/register",method="POST",status="201"} 1"#,
        r#"keyward_refresh_total{decision="rotate"} 1"#,
        r#"keyward_store_up 1"#,
        concat!(r#"keyward_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        "# EOF",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
    assert_eq!(page.matches("# EOF").count(), 1);
    if cfg!(target_os = "linux") {
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_start_time_seconds ",
            "process_open_fds ",
            "process_max_fds ",
        ] {
            assert!(page.lines().any(|line| line.starts_with(name)), "{name} is not in\n{page}");
        }
    }
    service.stop();
}

#[test]
fn neither_address_tells_what_is_the_others() {
    let place = Place::new();
    let mut service = serve(&place);
    let mut ops = ops_of(&mut service);
    assert_eq!(get(&mut ops, "/healthz").status, 200);
    for path in ["/", "/readyz", "/api/auth/me", "/.well-known/jwks.json"] {
        assert_eq!(get(&mut ops, path).status, 404, "{path}");
    }
    assert_eq!(get(&mut service.connect(), "/metrics").status, 404);
    service.stop();
}

fn serve(place: &Place) -> Running {
    place.serve_with(&[("KEYWARD_OPS__LISTEN", "127.0.0.1:0")])
}

/// A connection to the address that is printed after the service's.
fn ops_of(service: &mut Running) -> Client {
    let line = service.line();
    let address = line.strip_prefix("keyward tells metrics on http://");
    let address = address.and_then(|rest| rest.strip_suffix("/metrics")?.parse().ok());
    Client::connect(address.unwrap_or_else(|| panic!("{line:?}"))).expect("it accepts connections")
}

fn get(client: &mut Client, path: &str) -> Answer {
    client.send("GET", path, &[], "").expect("answered")
}
