//! Documents that mean harm, or were cut off: a clean error, little memory, no deep stack.

use serde::Deserialize;
use std::collections::BTreeMap;
use xenapi_wire::{DecodeError, DecodeErrorKind as Kind, Failure, Limits, Value, jsonrpc, xmlrpc};

const XML: &str = "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status\
    </name><value>Success</value></member><member><name>Value</name>";
const XML_END: &str = "</member></struct></value></param></params></methodResponse>";

fn response(value: &str) -> String {
    format!("{XML}{value}{XML_END}")
}

fn xml<T: serde::de::DeserializeOwned>(body: impl AsRef<[u8]>) -> Result<T, DecodeError> {
    xmlrpc::decode_response(body.as_ref(), &Limits::RESPONSE).map(|result| result.expect("no failure"))
}

fn json<T: serde::de::DeserializeOwned>(body: impl AsRef<[u8]>) -> Result<T, DecodeError> {
    jsonrpc::decode_response(body.as_ref(), &Limits::RESPONSE)
        .map(|answer| answer.result.expect("no failure"))
}

#[track_caller]
fn check<T: std::fmt::Debug>(result: Result<T, DecodeError>, expected: &Kind) {
    assert_eq!(result.expect_err("should be refused").kind(), expected);
}

#[test]
fn three_thousand_nested_arrays() {
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(3_000), close.repeat(3_000));
    let arrays = nested("<value><array><data>", "</data></array></value>");
    let structs = nested("<value><struct><member><name>a</name>", "</member></struct></value>");
    for deep in [&arrays, &structs] {
        check(xml::<Value>(response(deep)), &Kind::TooDeep { limit: 64 });
        let call = format!(
            "<methodCall><methodName>a</methodName><params><param>{deep}</param></params></methodCall>"
        );
        check(xmlrpc::decode_call(call.as_bytes(), &Limits::RESPONSE), &Kind::TooDeep { limit: 64 });
    }
    for deep in [nested("[", "]"), nested("{\"a\":", "}")] {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"result\":{deep},\"id\":1}}");
        check(json::<Value>(&body), &Kind::TooDeep { limit: 64 });
        let body = format!("{{\"method\":\"a\",\"params\":[{deep}],\"id\":1}}");
        check(jsonrpc::decode_call(body.as_bytes(), &Limits::RESPONSE), &Kind::TooDeep { limit: 64 });
    }
}

#[test]
fn as_deep_as_allowed() {
    // The envelope is a struct, so one level is taken.
    let nested = |levels| "<value><array><data>".repeat(levels) + &"</data></array></value>".repeat(levels);
    xml::<Value>(response(&nested(63))).expect("63 levels inside the envelope");
    check(xml::<Value>(response(&nested(64))), &Kind::TooDeep { limit: 64 });
}

/// What is not wanted may be nested to any depth: it is passed over without recursion.
#[test]
fn deep_members_that_nobody_reads() {
    #[derive(Deserialize)]
    struct Small {
        wanted: i64,
    }
    let deep = "<value><array><data>".repeat(100_000) + &"</data></array></value>".repeat(100_000);
    let members =
        format!("<member><name>x</name>{deep}</member><member><name>wanted</name><value>7</value></member>");
    let small: Small = xml(response(&format!("<value><struct>{members}</struct></value>"))).expect("skipped");
    assert_eq!(small.wanted, 7);
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let small: Small =
        json(format!("{{\"result\":{{\"x\":{deep},\"wanted\":7}},\"id\":1}}")).expect("skipped");
    assert_eq!(small.wanted, 7);
}

#[test]
fn entities_are_not_expanded() {
    let entity = Kind::Malformed("an entity other than the five of XML");
    for bomb in [
        // The nested kind, and one large entity used often.
        "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;\">]>",
        "<!DOCTYPE x [<!ENTITY c SYSTEM \"file:///etc/passwd\">]>",
    ] {
        let body = response("<value>&c;</value>").replace("?>", &format!("?>{bomb}"));
        check(xml::<String>(body), &entity);
    }
    let body =
        response("<value>fine</value>").replace("?>", "?><!DOCTYPE x [<!ENTITY a \"]>\"><!-- ' ]> -->]>");
    assert_eq!(xml::<String>(body).expect("a document type is passed over"), "fine");
    for nonsense in
        ["&#0;", "&#xd800;", "&#x110000;", "&#;", "&#x;", "&#+65;", "&lt", "&", "&#99999999999999;"]
    {
        let error = xml::<String>(response(&format!("<value>{nonsense}</value>"))).expect_err(nonsense);
        assert!(matches!(error.kind(), Kind::Malformed(_)), "{nonsense}: {error}");
    }
}

#[test]
fn limits_of_size() {
    let body = response("<value>0123456789</value>");
    let limits = Limits { max_bytes: body.len(), ..Limits::RESPONSE };
    xmlrpc::decode_response::<String>(body.as_bytes(), &limits).expect("just fits").expect("no failure");
    let limits = Limits { max_bytes: body.len() - 1, ..Limits::RESPONSE };
    let too_big = Kind::TooBig { size: body.len(), limit: body.len() - 1 };
    check(xmlrpc::decode_response::<String>(body.as_bytes(), &limits), &too_big);
    check(jsonrpc::decode_response::<String>(body.as_bytes(), &limits), &too_big);
}

/// Cut at every byte: the error says so wherever XML lets us know.
#[test]
fn truncated_at_every_byte() {
    let value = "<value><struct><member><name>a</name><value><array><data><value>x&amp;y</value><value><i4>5</i4>\
        </value><value><nil/></value></data></array></value></member><member><name>b</name><value><boolean>1\
        </boolean></value></member><!-- c --></struct></value>";
    let body = response(value);
    xml::<Value>(&body).expect("whole");
    for len in 0..body.len() {
        let error = xml::<Value>(&body[..len]).expect_err("cut");
        if len > "<?xml version=\"1.0\"?><".len() {
            assert_eq!(error.kind(), &Kind::Truncated, "cut at {len}: {error}");
        }
        xml::<BTreeMap<String, serde::de::IgnoredAny>>(&body[..len]).expect_err("cut");
    }
    let call = format!(
        "<methodCall><methodName>a.b</methodName><params><param>{value}</param></params></methodCall>"
    );
    xmlrpc::decode_call(call.as_bytes(), &Limits::REQUEST).expect("whole");
    for len in 0..call.len() {
        let error = xmlrpc::decode_call(&call.as_bytes()[..len], &Limits::REQUEST).expect_err("cut");
        if len > 1 {
            assert_eq!(error.kind(), &Kind::Truncated, "cut at {len}: {error}");
        }
    }
    let body = r#"{"jsonrpc":"2.0","result":{"a":["x\u00e9\n\"",-1.5e+3,true,null,{}],"b":"\\"},"id":1}"#;
    json::<Value>(body).expect("whole");
    for len in 0..body.len() {
        let error = json::<Value>(&body[..len]).expect_err("cut");
        if len > 0 {
            assert_eq!(error.kind(), &Kind::Truncated, "cut at {len}: {error}");
        }
    }
}

#[test]
fn other_things_than_answers() {
    for (body, found) in [
        ("", "nothing"),
        (" \n", "nothing"),
        ("<html><body>HTTP 500 internal server error</body></html>", "an HTML page"),
        ("<!DOCTYPE html>\n<HTML>", "an HTML page"),
        ("<methodCall/>", "other XML"),
        ("<methodResponses/>", "other XML"),
        ("{\"result\":1}", "JSON"),
        ("upstream connect error", "text that is neither XML nor JSON"),
    ] {
        let kind = Kind::NotRpc { expected: "an XML-RPC response", found };
        check(xml::<Value>(body), &kind);
    }
    for (body, found) in [
        ("", "nothing"),
        ("<html>", "an HTML page"),
        ("<?xml version=\"1.0\"?><methodResponse/>", "other XML"),
        ("[1]", "a JSON array"),
        ("HTTP/1.1 500", "text that is neither XML nor JSON"),
    ] {
        check(json::<Value>(body), &Kind::NotRpc { expected: "a JSON-RPC response", found });
    }
}

#[test]
fn malformed_answers() {
    for value in [
        "<value><base64>aGk=</base64></value>",
        "<value><int>five</int></value>",
        "<value><int/></value>",
        "<value><double>x</double></value>",
        "<value><boolean>yes</boolean></value>",
        "<value>a<int>5</int></value>",
        "<value><int>5</int>a</value>",
        "<value><int>5</i4></value>",
        "<value><array><value>1</value></array></value>",
        "<value><array><data>text</data></array></value>",
        "<value><struct><member><value>1</value></member></struct></value>",
        "<value><struct><member><name/><value>1</value></member></struct></value>",
        "<value><struct><member><name>a</name></member></struct></value>",
        "<value><struct><member/></struct></value>",
        "<value <int>5</int></value>",
        "<value><nil>x</nil></value>",
        "<value>a<!ELEMENT></value>",
        "<valuex>1</valuex>",
        "1",
        "",
    ] {
        let error = xml::<Value>(response(value)).expect_err(value);
        assert!(matches!(error.kind(), Kind::Malformed(_)), "{value}: {error}");
        assert!(error.offset().is_some_and(|at| at >= XML.len() - 1), "{value}: {error}");
    }
    let trailing = response("<value>1</value>") + "<html>";
    assert!(matches!(xml::<i64>(trailing).expect_err("trailing").kind(), Kind::Malformed(_)));
    for value in [
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "0x10",
        "tru",
        "nan",
        "inf",
        "-",
        "'a'",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\u12g4\"",
        "\"\u{1}\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "9223372036854775808",
    ] {
        let error = json::<Value>(format!("{{\"result\":{value},\"id\":1}}")).expect_err(value);
        assert!(matches!(error.kind(), Kind::Malformed(_)), "{value}: {error}");
    }
    let error = json::<Value>("{\"id\":1}").expect_err("no result");
    assert_eq!(error.kind(), &Kind::Missing("result".into()));
    assert!(matches!(
        json::<Value>("{\"result\":1,\"id\":1}x").expect_err("tail").kind(),
        Kind::Malformed(_)
    ));
}

/// The status is looked at before the value, wherever it stands.
#[test]
fn members_in_any_order() {
    let value = "<member><name>Value</name><value>5</value></member>";
    let success = "<member><name>Status</name><value>Success</value></member>";
    let failure = "<member><name>Status</name><value>Failure</value></member>";
    let list = "<member><name>ErrorDescription</name><value><array><data><value>A</value><value><int>5</int>\
        </value></data></array></value></member>";
    let other = "<member><name>Extra</name><value><struct></struct></value></member>";
    let body = |members: &[&str]| {
        let members = members.concat();
        format!(
            "<methodResponse><params><param><value><struct>{members}</struct></value></param></params></methodResponse>"
        )
    };
    let decode =
        |members: &[&str]| xmlrpc::decode_response::<i64>(body(members).as_bytes(), &Limits::RESPONSE);
    for members in [
        [success, value, other],
        [value, success, other],
        [value, other, success],
        [success, other, value],
        [other, value, success],
    ] {
        assert_eq!(decode(&members), Ok(Ok(5)));
    }
    let failed = Ok(Err(Failure::new("A", ["5"])));
    for members in [&[failure, list][..], &[list, failure], &[list, value, failure], &[failure, value, list]]
    {
        assert_eq!(decode(members), failed);
    }
    for members in [&[success][..], &[failure], &[list], &[value], &[success, list]] {
        decode(members).expect_err("incomplete");
    }
    let fault = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>7</int></value>\
        </member><member><name>faultString</name><value><string>too bad</string></value></member></struct></value>\
        </fault></methodResponse>";
    let fault = xmlrpc::decode_response::<i64>(fault.as_bytes(), &Limits::RESPONSE);
    assert_eq!(fault, Ok(Err(Failure::new("Fault", ["7", "too bad"]))));
}

/// No bytes make a decoder panic; a mutated message is the best way to get far into one.
#[test]
fn mutations_do_not_panic() {
    let xml = response(
        "<value><struct><member><name>a</name><value><double>1.5</double></value></member></struct></value>",
    );
    let json = r#"{"jsonrpc":"2.0","result":{"a":[1,"\u0041",NaN]},"id":1}"#;
    for body in [xml.as_str(), json] {
        for at in 0..body.len() {
            for byte in
                [b'<', b'>', b'&', b'/', b'"', b'\\', b'!', b'?', b'[', b'{', 0, 0xff, b' ', b'-', b'9']
            {
                let mut bytes = body.as_bytes().to_vec();
                bytes[at] = byte;
                xenapi_wire::fuzzing::decode_anything(&bytes);
                bytes.remove(at);
                xenapi_wire::fuzzing::decode_anything(&bytes);
            }
        }
    }
}
