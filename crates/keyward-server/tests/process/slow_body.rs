//! A body that does not end.

use crate::place::Place;

/// The request's own deadline answers, whatever the credentials are: nothing fails a moment before
/// it for a reason that waiting has made.
#[test]
fn a_body_that_does_not_end_is_overload_at_the_deadline() {
    let place = Place::new();
    let service = place.serve_with(&[("KEYWARD_SERVER__REQUEST_TIMEOUT", "1s")]);
    let bearer = service.register("ada@example.org").bearer();
    let credentials =
        [("Authorization", bearer.as_str()), ("Authorization", "Bearer junk"), ("Cookie", "a=b")];
    let mut begun = Vec::new();
    for path in ["/api/auth/login", "/api/auth/password/change", "/api/auth/logout-all"] {
        for credential in credentials {
            let headers = [("Content-Type", "application/json"), credential];
            let mut client = service.connect();
            client.begin("POST", path, &headers, 100).expect("sent");
            client.write("{").expect("sent");
            begun.push((client, path, credential.0));
        }
    }
    for (mut client, path, credential) in begun {
        let answer = client.answer().expect("answered");
        assert_eq!(answer.outcome(), "503 OVERLOADED", "{path} by {credential}");
        assert!(client.is_closed());
    }
    service.stop();
}
