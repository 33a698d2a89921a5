use std::{fs, path::PathBuf};

use http::HeaderName;

use super::*;
use crate::config::{BasicAuth, BearerTokenAuth, Secret, Span, Spanned};

const SPAN: Span = Span { start: 3, end: 9 };

fn bearer(tokens: &[&str], file: Option<PathBuf>) -> config::Authenticator {
    config::Authenticator::Bearer(BearerTokenAuth {
        header: http::header::AUTHORIZATION,
        scheme: "Bearer".to_owned(),
        tokens: tokens.iter().map(|token| Secret((*token).to_owned())).collect(),
        file: file.map(|file| Spanned::new(file, SPAN)),
    })
}

fn basic(inline: Option<&str>, file: Option<PathBuf>) -> config::Authenticator {
    config::Authenticator::Basic(BasicAuth {
        inline: inline.map(|text| Spanned::new(Secret(text.to_owned()), SPAN)),
        file: file.map(|file| Spanned::new(file, SPAN)),
    })
}

/// Whether who sends this header may send.
async fn check(authenticator: &Authenticator, header: &str, value: &str, expected: bool) {
    let mut headers = HeaderMap::new();
    headers.insert(header.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    let checked = authenticator.check(&headers).await;
    assert_eq!(checked.is_ok(), expected, "{header}: {value}");
}

fn encoded(credentials: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

#[tokio::test]
async fn a_token_must_be_one_of_those_known() {
    let authenticator = Authenticator::new(&bearer(&["first", "second", ""], None)).unwrap();
    for (value, expected) in [
        ("Bearer first", true),
        ("bearer  second", true),
        ("Bearer firs", false),
        ("Bearer first2", false),
        ("Bearer ", false),
        ("Bearerfirst", false),
        ("first", false),
        ("Basic first", false),
    ] {
        check(&authenticator, "authorization", value, expected).await;
    }
    check(&authenticator, "x-token", "Bearer first", false).await;
    assert!(authenticator.check(&HeaderMap::new()).await.is_err());
    assert_eq!(authenticator.challenge(), "Bearer");

    let config::Authenticator::Bearer(config) = bearer(&["first"], None) else { unreachable!() };
    let header = HeaderName::from_static("x-token");
    let config = BearerTokenAuth { header, scheme: String::new(), ..config };
    let authenticator = Authenticator::new(&config::Authenticator::Bearer(config)).unwrap();
    check(&authenticator, "x-token", "first", true).await;
    check(&authenticator, "x-token", "Bearer first", false).await;
}

#[tokio::test]
async fn tokens_come_from_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "\n one \r\ntwo").unwrap();
    let authenticator = Authenticator::new(&bearer(&["three"], Some(file.clone()))).unwrap();
    for token in ["one", "two", "three"] {
        check(&authenticator, "authorization", &format!("Bearer {token}"), true).await;
    }
    fs::write(&file, "\n \n").unwrap();
    let error = Authenticator::new(&bearer(&["three"], Some(file.clone()))).unwrap_err();
    assert_eq!((error.span, &error.path), (SPAN, &file));
}

#[tokio::test]
async fn a_password_must_be_the_users_own() {
    let (cheap, dear) = (bcrypt::hash("open sesame", 4).unwrap(), bcrypt::hash("päss:word", 5).unwrap());
    let users =
        format!("# people\nplain:secret\n\ncheap:{cheap}\ndear:{}\nplain:newer\n", dear.replace("$2b$", "$2y$"));
    let authenticator = Authenticator::new(&basic(Some(&users), None)).unwrap();
    for (credentials, expected) in [
        ("plain:newer", true),
        ("plain:secret", false),
        ("cheap:open sesame", true),
        ("cheap:open sesame", true),
        ("cheap:open", false),
        ("dear:open sesame", false),
        ("dear:päss:word", true),
        ("nobody:open sesame", false),
        ("nobody:", false),
        (":", false),
        ("plain", false),
    ] {
        check(&authenticator, "authorization", &encoded(credentials), expected).await;
    }
    let malformed = ["Basic", "Basic !", "Bearer cGxhaW46bmV3ZXI="];
    for value in malformed {
        check(&authenticator, "authorization", value, false).await;
    }
    // Of plain passwords only: nobody has none.
    let authenticator = Authenticator::new(&basic(Some("plain:secret"), None)).unwrap();
    check(&authenticator, "authorization", &encoded("nobody:"), false).await;
    check(&authenticator, "authorization", &encoded("plain:secret"), true).await;
}

#[test]
fn what_is_wrong_with_users_is_said_without_quoting_them() {
    let cost = bcrypt::hash("hush", 4).unwrap().replace("$04$", "$17$");
    let check = |users: &str, expected: &str| {
        let error = Authenticator::new(&basic(Some(users), None)).unwrap_err();
        assert_eq!(error.span, SPAN);
        assert_eq!(error.to_string(), format!("can't use htpasswd.inline: {expected}"));
    };
    let other = "this hash is not supported: use `htpasswd -B`, which makes one of bcrypt";
    check("", "it holds no user: write USER:PASSWORD, one a line");
    check("me:hush\nhush\n", "line 2 is not USER:PASSWORD");
    check("me:", "line 1 is not USER:PASSWORD");
    check(":hush", "line 1 is not USER:PASSWORD");
    check("me:{SHA}aHVzaA==", &format!("line 1: {other}"));
    check("me:$apr1$hush", &format!("line 1: {other}"));
    check(
        "me:$2y$10$hush",
        "line 1: this is no hash of bcrypt: Invalid hash: the hash format is malformed; expected 60 ASCII bytes",
    );
    check(&format!("me:{cost}"), "line 1: a cost of 17 would take minutes for each check: at most 16");
}
