use axum::body::Bytes;
use futures_util::stream;
use serde::Deserialize;

use super::*;
use crate::http::error::FieldErrors;

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Example {
    email: String,
    display_name: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
}

async fn post(content_type: Option<&str>, body: impl Into<Body>) -> Result<Example, ApiError> {
    let mut request = Request::new(body.into());
    if let Some(content_type) = content_type {
        let value = content_type.parse().expect("a header value");
        request.headers_mut().insert(CONTENT_TYPE, value);
    }
    Json::from_request(request, &()).await.map(|Json(example)| example)
}

async fn check(body: &[u8], field: Option<&'static str>) {
    let refused = post(Some("application/json"), Bytes::copy_from_slice(body)).await;
    let text = String::from_utf8_lossy(body);
    let Err(ApiError::InvalidRequest { fields }) = refused else {
        panic!("{text}: {refused:?}");
    };
    let fields = serde_json::to_value(fields).expect("strings");
    let named: Vec<&str> =
        fields.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(named, Vec::from_iter(field), "{text}");
}

#[tokio::test]
async fn reads_an_object() {
    for body in [
        r#"{"email": "a@b.test"}"#,
        r#" {"displayName": null, "roles": [], "email": "a@\u0062.test"} "#,
    ] {
        let read = post(Some("Application/JSON ; charset=utf-8"), body).await.expect("valid");
        assert_eq!((read.email.as_str(), read.display_name), ("a@b.test", None));
    }
    let body = r#"{"email": "a", "displayName": "Ada", "roles": ["admin", "x"]}"#;
    let read = post(Some("application/json"), body).await.expect("valid");
    assert_eq!(read.display_name.as_deref(), Some("Ada"));
    assert_eq!(read.roles, ["admin", "x"]);
}

#[tokio::test]
async fn names_the_field_that_is_wrong() {
    check(b"{}", Some("email")).await;
    check(br#"{"email": "a", "admin": true}"#, Some("admin")).await;
    check(br#"{"email": "a", "display_name": "x"}"#, Some("display_name")).await;
    check(br#"{"email": "a", "email": "a"}"#, Some("email")).await;
    check(br#"{"email": "a", "em\u0061il": "b"}"#, Some("email")).await;
    for value in ["null", "1", "-1", "1.5", "true", "[]", "{}", r#"["a"]"#] {
        check(format!(r#"{{"email": {value}}}"#).as_bytes(), Some("email")).await;
    }
    check(br#"{"email": "a", "displayName": 7}"#, Some("displayName")).await;
    check(br#"{"email": "a", "roles": ["x", {"y": 1}]}"#, Some("roles")).await;
    let long = "n".repeat(65);
    check(format!(r#"{{"email": "a", "{long}": 1}}"#).as_bytes(), None).await;
}

#[tokio::test]
async fn refuses_what_is_no_object() {
    for body in ["", " ", "null", "[]", r#""email""#, "{", r#"{"email": "a""#, r#"{email: "a"}"#] {
        check(body.as_bytes(), None).await;
    }
    check(br#"{"email": "a"} x"#, None).await;
    check(br#"{"email": "a",}"#, None).await;
    check(br#"{"email": "\ud800"}"#, None).await;
    check(b"{\"email\": \"\xff\"}", None).await;
    check(b"\xef\xbb\xbf{\"email\": \"a\"}", None).await;
    check(format!(r#"{{"email": {}1{}}}"#, "[".repeat(200), "]".repeat(200)).as_bytes(), None)
        .await;
    let many: Vec<String> = (0..1000).map(|n| format!(r#""f{n}": 0"#)).collect();
    check(format!("{{{}}}", many.join(",")).as_bytes(), None).await;
}

#[tokio::test]
async fn another_type_is_refused_unread() {
    for content_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/json-patch"),
        Some("text/plain; application/json"),
    ] {
        let refused = post(content_type, r#"{"email": "a"}"#).await;
        assert_eq!(refused, Err(ApiError::UnsupportedMediaType), "{content_type:?}");
    }
}

#[tokio::test]
async fn the_size_is_bounded_whether_told_or_not() {
    let of = |length: usize| format!(r#"{{"email": "{}"}}"#, "a".repeat(length - 13));
    let streamed = |text: String| Body::from_stream(stream::iter([Ok::<_, std::io::Error>(text)]));
    for (length, expected) in [(BODY_BYTES_MAX, true), (BODY_BYTES_MAX + 1, false)] {
        for body in [Body::from(of(length)), streamed(of(length))] {
            let read = post(Some("application/json"), body).await;
            assert!(if expected { read.is_ok() } else { read == Err(ApiError::PayloadTooLarge) });
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let pieces = [Ok(r#"{"email": "#), Err(std::io::Error::other("connection reset"))];
    let refused = post(Some("application/json"), Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(refused, Err(ApiError::InvalidRequest { fields: FieldErrors::default() }));
}
