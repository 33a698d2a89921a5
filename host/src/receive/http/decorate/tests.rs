use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, request::Builder};

use super::*;
use crate::testing::http_listener;

/// Takes what is posted to one path.
async fn taken(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut answer = Response::new(Body::empty());
    if request.uri().path() != "/v1/traces" {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(answer)
}

/// Answers as a listener that browsers of these origins may use.
async fn send(origins: &[&str], headers: &[&str], request: Builder) -> Response<Body> {
    let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let cors = config::Cors {
        allowed_origins: strings(origins),
        allowed_headers: strings(headers),
        exposed_headers: vec![HeaderName::from_static("x-version")],
        max_age: Some(Duration::from_secs(7200)),
    };
    let response_headers =
        HeaderMap::from_iter([(HeaderName::from_static("x-version"), HeaderValue::from_static("1"))]);
    let settings = HttpListener { cors: Some(cors), response_headers, ..http_listener(100) };
    let mut service = Decorated::new(tower::service_fn(taken), &settings);
    service.call(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// What a browser asks before a page of `origin` may send with this header.
fn preflight(origin: &str, header: &str) -> Builder {
    Request::options("/v1/traces")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", header)
}

/// The header of this name, of those that CORS has.
fn of<'a>(answer: &'a Response<Body>, name: &str) -> Option<&'a str> {
    answer.headers().get(format!("access-control-{name}")).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send() {
    let (origins, headers) = (["https://*.example.com", "http://localhost:3000"], ["x-tenant"]);
    for (origin, allowed) in [
        ("https://shop.example.com", true),
        ("http://localhost:3000", true),
        ("https://example.net", false),
        ("http://localhost:30001", false),
    ] {
        let answer = send(&origins, &headers, preflight(origin, "content-type,x-tenant")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(of(&answer, "allow-origin"), allowed.then_some(origin));
        assert_eq!(of(&answer, "allow-methods"), Some("POST"));
        assert_eq!(of(&answer, "allow-headers"), Some("content-type,x-requested-with,x-tenant"));
        assert_eq!(of(&answer, "max-age"), Some("7200"));
        assert!(answer.headers()["vary"].to_str().unwrap().contains("origin"));
        for (path, expected) in [("/v1/traces", 200), ("/nothing", 404)] {
            let answer = send(&origins, &headers, Request::post(path).header("origin", origin)).await;
            assert_eq!(answer.status(), expected);
            assert_eq!(of(&answer, "allow-origin"), allowed.then_some(origin));
            assert_eq!(of(&answer, "allow-credentials"), Some("true"));
            assert_eq!(of(&answer, "expose-headers"), Some("x-version"));
            assert_eq!(answer.headers()["x-version"], "1", "every answer has the configured headers");
        }
    }
}

#[tokio::test]
async fn a_star_allows_every_origin_without_credentials_and_every_header() {
    let answer = send(&["*"], &["*"], preflight("https://example.net", "x-anything")).await;
    assert_eq!(of(&answer, "allow-origin"), Some("*"));
    assert_eq!(of(&answer, "allow-credentials"), None);
    assert_eq!(of(&answer, "allow-headers"), Some("x-anything"));
}

#[test]
fn a_star_stands_for_any_text() {
    let check = |pattern, origin, expected| assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
    check("https://example.com", "https://example.com", true);
    check("https://Example.com", "https://eXample.com", true);
    check("https://example.com", "https://example.com:8443", false);
    check("https://example.com", "https://example.com.evil.net", false);
    check("https://*.example.com", "https://shop.example.com", true);
    check("https://*.example.com", "https://a.b.example.com", true);
    check("https://*.example.com", "https://example.com", false);
    check("https://*.example.com", "http://shop.example.com", false);
    check("https://*.example.com", "https://shop.example.com.evil.net", false);
    check("http://localhost:*", "http://localhost:3000", true);
    check("*://*.example.*:80", "http://www.example.org:80", true);
    check("*://*.example.*:80", "http://www.example:80", false);
    check("https://a*a", "https://a", false);
}
