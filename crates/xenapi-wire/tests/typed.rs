//! What the type that is asked for makes of what is on the wire.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xenapi_wire::{
    AnyClass, DateTime, DecodeError, DecodeErrorKind as Kind, EncodeError, Failure, I4, Limits, Ref, Value,
    jsonrpc, plugin, xmlrpc,
};

fn xml<T: DeserializeOwned>(value: &str) -> Result<T, DecodeError> {
    xmlrpc::decode_value(value, &Limits::RESPONSE)
}

fn json<T: DeserializeOwned>(value: &str) -> Result<T, DecodeError> {
    let body = format!("{{\"jsonrpc\":\"2.0\",\"result\":{value},\"id\":1}}");
    jsonrpc::decode_response(body.as_bytes(), &Limits::RESPONSE)
        .map(|answer| answer.result.expect("no failure"))
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the value is what reads best at the call")]
fn both<T: DeserializeOwned + PartialEq + std::fmt::Debug>(in_xml: &str, in_json: &str, expected: T) {
    assert_eq!(xml::<T>(in_xml).as_ref(), Ok(&expected));
    assert_eq!(json::<T>(in_json).as_ref(), Ok(&expected));
    // And from a value that was decoded without its type.
    let value: Value = xml(in_xml).expect("any value");
    assert_eq!(value.decode::<T>().as_ref(), Ok(&expected));
    let value: Value = json(in_json).expect("any value");
    assert_eq!(value.decode::<T>().as_ref(), Ok(&expected));
}

#[track_caller]
fn neither<T: DeserializeOwned + std::fmt::Debug>(in_xml: &str, in_json: &str, expected: &str, found: &str) {
    let wrong = Kind::WrongType { expected: expected.into(), found: found.into() };
    assert_eq!(xml::<T>(in_xml).expect_err(in_xml).kind(), &wrong);
    assert_eq!(json::<T>(in_json).expect_err(in_json).kind(), &wrong);
    let value: Value = xml(in_xml).expect("any value");
    assert_eq!(value.decode::<T>().expect_err(in_xml).kind(), &wrong);
}

#[test]
fn integers() {
    both("<value>5</value>", "5", 5i64);
    both("<value><string>-9223372036854775808</string></value>", "\"-9223372036854775808\"", i64::MIN);
    both("<value><i8>9223372036854775807</i8></value>", "9223372036854775807", i64::MAX);
    both("<value><int>5</int></value>", "5", 5u8);
    both("<value><double>5</double></value>", "5.0", 5i64);
    both("<value>0x10</value>", "\"0x10\"", 16i32);
    both("<value>5</value>", "5", I4(5));
    neither::<i64>("<value>five</value>", "\"five\"", "an integer", "text");
    neither::<i64>("<value></value>", "\"\"", "an integer", "text");
    neither::<i64>("<value><double>5.5</double></value>", "5.5", "an integer", "a float");
    neither::<i64>("<value><boolean>1</boolean></value>", "true", "an integer", "a boolean");
    neither::<u8>("<value>256</value>", "256", "u8", "an integer beyond its range");
    neither::<u64>("<value>-1</value>", "-1", "u64", "an integer beyond its range");
}

#[test]
fn floats() {
    both("<value><double>0.5</double></value>", "0.5", 0.5f64);
    both("<value><double>inf</double></value>", "Infinity", f64::INFINITY);
    both("<value><double>-inf</double></value>", "-Infinity", f64::NEG_INFINITY);
    both("<value>-Infinity</value>", "\"-inf\"", f64::NEG_INFINITY);
    both("<value>1.</value>", "\"1.\"", 1.0f64);
    both("<value><i4>2</i4></value>", "2", 2.0f64);
    assert!(xml::<f64>("<value><double>nan</double></value>").is_ok_and(f64::is_nan));
    assert!(json::<f64>("NaN").is_ok_and(f64::is_nan));
    assert!(json::<f64>("\"NaN\"").is_ok_and(f64::is_nan));
    // The words are words only outside of text.
    both("<value>NaN, Infinity</value>", "\"NaN, Infinity\"", "NaN, Infinity".to_owned());
    neither::<f64>("<value>x</value>", "\"x\"", "a float", "text");
}

#[test]
fn booleans_text_void() {
    both("<value><boolean>1</boolean></value>", "true", true);
    neither::<bool>("<value>true</value>", "\"true\"", "a boolean", "text");
    neither::<bool>("<value><int>1</int></value>", "1", "a boolean", "an integer");
    both("<value> \n </value>", "\" \\n \"", " \n ".to_owned());
    both("<value/>", "\"\"", String::new());
    neither::<String>("<value><int>5</int></value>", "5", "a string", "an integer");
    both("<value></value>", "\"\"", ());
    both("<value><nil/></value>", "null", ());
    neither::<()>("<value>x</value>", "\"x\"", "nothing", "text");
    both("<value>x</value>", "\"x\"", Some("x".to_owned()));
    both("<value><nil/></value>", "null", None::<String>);
    // A task that returned nothing has the empty text.
    assert_eq!(xml::<()>(""), Ok(()));
    assert_eq!(xml::<String>("&lt;value&gt;a&amp;lt;b&lt;/value&gt;"), Ok("a<b".to_owned()));
    assert_eq!(xml::<String>("plain"), Ok("plain".to_owned()));
}

#[test]
fn text_in_all_its_forms() {
    for text in [
        "<value>a&lt;b&#62;&#x26;c</value>",
        "<value><string>a<![CDATA[<b>&]]>c</string></value>",
        "<value>a&lt;<!-- not & shown <value> -->b><?pi ?>&amp;c</value>",
        "<value  x='>'><string y=\"1\">a&lt;b&gt;&amp;c</string ></value >",
        " \n<value>\n<string>a&lt;b&gt;&amp;c</string>\n</value><!-- c -->\n",
    ] {
        assert_eq!(xml::<String>(text), Ok("a<b>&c".to_owned()), "{text}");
    }
    assert_eq!(
        json::<String>(r#""\u0041\ud83d\ude00\/\b\f\n\r\t\"\\é""#),
        Ok("A😀/\u{8}\u{c}\n\r\t\"\\é".to_owned())
    );
    // XAPI writes a carriage return as it is, and reads it as a line end.
    assert_eq!(xml::<String>("<value>a\r\nb\rc&#13;</value>"), Ok("a\r\nb\rc\r".to_owned()));
    let call = "<methodCall><methodName>a</methodName><params><param><value>a\r\nb\rc&#13;</value></param></params></methodCall>";
    let call = xmlrpc::decode_call(call.as_bytes(), &Limits::REQUEST).expect("a call");
    assert_eq!(call.params, [Value::from("a\nb\nc\r")]);
    // Bytes of another encoding are shown, not refused, in what a server sends.
    let latin1 =
        b"<methodResponse><params><param><value>gr\xfc\xdfe</value></param></params></methodResponse>";
    let text = xmlrpc::decode_response::<String>(latin1, &Limits::RESPONSE).expect("a response");
    assert_eq!(text, Ok("gr\u{fffd}\u{fffd}e".to_owned()));
}

#[test]
fn dates() {
    let date = DateTime::from_unix_seconds(1_795_169_472);
    both(
        "<value><dateTime.iso8601>20261120T10:11:12Z</dateTime.iso8601></value>",
        "\"20261120T10:11:12Z\"",
        date.clone(),
    );
    both("<value>20261120T10:11:12Z</value>", "\"20261120T10:11:12Z\"", date.clone());
    for number in ["<value><double>1795169472.</double></value>", "<value><i8>1795169472</i8></value>"] {
        assert_eq!(xml::<DateTime>(number).expect(number).unix_seconds(), date.unix_seconds());
    }
    // A date where text is wanted, and in a value without a type.
    let tagged = "<value><dateTime.iso8601>20261120T10:11:12Z</dateTime.iso8601></value>";
    assert_eq!(xml::<String>(tagged), Ok("20261120T10:11:12Z".to_owned()));
    assert_eq!(xml::<Value>(tagged), Ok(Value::DateTime(date.clone())));
    assert_eq!(Value::encode(&date), Ok(Value::DateTime(date)));
    neither::<DateTime>("<value><nil/></value>", "null", "a date", "nil");
}

/// An enum that newer servers may extend, as the bindings have them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
enum Power {
    Halted,
    Unknown(String),
}

impl From<String> for Power {
    fn from(text: String) -> Self {
        if text == "Halted" { Self::Halted } else { Self::Unknown(text) }
    }
}

impl From<Power> for String {
    fn from(power: Power) -> Self {
        match power {
            Power::Halted => "Halted".into(),
            Power::Unknown(text) => text,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Closed {
    Rw,
    Ro,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    uuid: String,
    memory: i64,
    power: Option<Power>,
    since: DateTime,
    parent: Ref<AnyClass>,
    by_ref: BTreeMap<Ref<AnyClass>, i64>,
    by_int: BTreeMap<i64, bool>,
    by_enum: BTreeMap<Power, Closed>,
    pairs: Vec<(String, f64)>,
}

#[test]
fn records() {
    let uuid = "OpaqueRef:8f3c1f5e-0a64-4d8e-9b1c-00112233aabb";
    let full = Record {
        uuid: "u".into(),
        memory: 1 << 40,
        power: Some(Power::Unknown("Levitating".into())),
        since: DateTime::from_unix_seconds(0),
        parent: uuid.into(),
        by_ref: [(uuid.into(), -1)].into(),
        by_int: [(0, true), (-7, false)].into(),
        by_enum: [(Power::Halted, Closed::Ro)].into(),
        pairs: vec![("a".into(), 0.1)],
    };
    let text = xmlrpc::encode_value(&full).expect("a record");
    assert_eq!(xml::<Record>(&text), Ok(full.clone()));
    assert_eq!(Value::encode(&full).expect("a record").decode::<Record>(), Ok(full.clone()));
    let text = jsonrpc::encode_response(jsonrpc::Version::V2, &1.into(), Ok(&full)).expect("a record");
    let answer = jsonrpc::decode_response::<Record>(text.as_bytes(), &Limits::RESPONSE).expect("a record");
    assert_eq!(answer.result, Ok(full));

    // Members that are missing have their default, members that are not known are passed over, a
    // field that is None is left out.
    let sparse = "<value><struct><member><name>new</name><value><array><data><value>x</value></data></array></value>\
        </member><member><name>memory</name><value>5</value></member></struct></value>";
    both(sparse, "{\"new\":[{\"x\":[]},\"]\"],\"memory\":\"5\"}", Record { memory: 5, ..Record::default() });
    let text = xmlrpc::encode_value(&Record::default()).expect("a record");
    assert!(!text.contains("power"), "{text}");
    assert!(
        !Value::encode(&Record::default())
            .expect("a record")
            .as_struct()
            .expect("a struct")
            .contains_key("power")
    );
    for empty in ["<value><struct/></value>", "<value><struct></struct></value>"] {
        both(empty, "{}", Record::default());
    }
    for empty in ["<value><array/></value>", "<value><array><data/></array></value>"] {
        both(empty, "[]", Vec::<Record>::new());
    }
}

#[test]
fn errors_say_where() {
    let text = "<value><struct><member><name>vm</name><value><struct><member><name>VBDs</name><value><array><data>\
        <value>1</value><value>secret</value></data></array></value></member></struct></value></member></struct></value>";
    let error = xml::<BTreeMap<String, BTreeMap<String, Vec<i64>>>>(text).expect_err("text");
    assert_eq!(error.path(), "vm.VBDs[1]");
    assert!(error.offset().is_some_and(|at| text[..at].ends_with("secret</value>")), "{error}");
    assert!(
        error.to_string().starts_with("expected an integer, found text, in vm.VBDs[1], at byte "),
        "{error}"
    );
    let error =
        json::<Vec<BTreeMap<String, Closed>>>("[{\"a\":\"rw\"},{\"b\":\"secret\"}]").expect_err("no variant");
    assert_eq!(error.path(), "[1].b");
    assert!(matches!(error.kind(), Kind::WrongType { .. }), "{error}");
    // A value may be a password: an error never shows it.
    let error = error.to_string() + &xml::<i64>("<value>secret</value>").expect_err("text").to_string();
    assert!(!error.contains("secret"), "{error}");

    #[derive(Debug, Deserialize)]
    struct Strict {
        #[expect(dead_code, reason = "it is missing")]
        needed: String,
    }
    let error = json::<Vec<Strict>>("[{}]").expect_err("a missing member");
    assert_eq!((error.kind(), error.path().as_str()), (&Kind::Missing("needed".into()), "[0]"));
}

#[test]
fn calls() {
    let params = ("OpaqueRef:v", 5, true, 0.1, &[DateTime::epoch()][..]);
    assert_eq!(
        xmlrpc::encode_call("VM.x", Some("OpaqueRef:s"), &params).expect("a call"),
        "<?xml version=\"1.0\"?><methodCall><methodName>VM.x</methodName><params>\
         <param><value>OpaqueRef:s</value></param><param><value>OpaqueRef:v</value></param>\
         <param><value>5</value></param><param><value><boolean>1</boolean></value></param>\
         <param><value><double>0.1</double></value></param><param><value><array><data><value>\
         <dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value></data></array></value></param>\
         </params></methodCall>"
    );
    let call = |session, params: &dyn Fn(Option<&str>) -> Result<String, EncodeError>| params(session);
    let json = |params: &'static [i64]| {
        move |session: Option<&str>| {
            jsonrpc::encode_call(jsonrpc::Version::V1, &7.into(), "m", session, params)
        }
    };
    for (session, params, expected) in [
        (None, &[][..], "[]"),
        (Some("s"), &[], "[\"s\"]"),
        (None, &[1, 2], "[1,2]"),
        (Some("s"), &[1, 2], "[\"s\",1,2]"),
    ] {
        let expected = format!("{{\"method\":\"m\",\"params\":{expected},\"id\":7}}");
        assert_eq!(call(session, &json(params)), Ok(expected));
    }
    for empty in [xmlrpc::encode_call("m", None, &()), xmlrpc::encode_call("m", None, &[0; 0])] {
        let empty = empty.expect("a call");
        assert!(empty.ends_with("<params></params></methodCall>"), "{empty}");
    }
    assert_eq!(xmlrpc::encode_call("m", None, &5), Err(EncodeError::NotASequence));
    let v2 = jsonrpc::Version::V2;
    assert_eq!(jsonrpc::encode_call(v2, &1.into(), "m", None, "x"), Err(EncodeError::NotASequence));
    let nan = jsonrpc::encode_call(v2, &1.into(), "m", None, &[f64::NAN, f64::INFINITY]).expect("a call");
    assert_eq!(nan, r#"{"jsonrpc":"2.0","method":"m","params":["nan","inf"],"id":1}"#);
}

#[test]
fn what_xml_cannot_carry() {
    for c in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
        let text = format!("é{c}");
        assert_eq!(xmlrpc::encode_call("m", None, &[&text]), Err(EncodeError::Character(c)));
        assert_eq!(xmlrpc::encode_call("m", Some(&text), &()), Err(EncodeError::Character(c)));
        let key: BTreeMap<&str, i64> = [(text.as_str(), 1)].into();
        assert_eq!(xmlrpc::encode_call("m", None, &[key]), Err(EncodeError::Character(c)));
        // JSON can.
        jsonrpc::encode_call(jsonrpc::Version::V2, &1.into(), "m", None, &[&text]).expect("a call");
    }
    let empty_key: BTreeMap<&str, i64> = [("", 1)].into();
    assert_eq!(xmlrpc::encode_call("m", None, &[empty_key]), Err(EncodeError::EmptyKey));
    let date = Value::DateTime("".parse().unwrap_or_default());
    assert_eq!(date, Value::DateTime(DateTime::epoch()));
    let too_large = EncodeError::Unsupported("an integer beyond 2^63-1");
    assert_eq!(xmlrpc::encode_call("m", None, &[u64::MAX]), Err(too_large));
    // A call shows its method, not its parameters.
    let body = xmlrpc::encode_call("session.login_with_password", None, &("root", "secret")).expect("a call");
    let call = xmlrpc::decode_call(body.as_bytes(), &Limits::REQUEST).expect("a call");
    assert_eq!(format!("{call:?}"), r#"IncomingCall { method: "session.login_with_password", params: 2 }"#);
    // XAPI's own way: dropped.
    let text = xmlrpc::encode_response(Ok("a\u{1}\u{ffff}\r\n")).expect("a response");
    assert!(text.contains("<value>a\u{ffff}\r\n</value>"), "{text}");
}

#[test]
fn failures_over_json() {
    let failure = |error: &str| {
        let body = format!("{{\"result\":null,\"error\":{error},\"id\":1}}");
        let answer = jsonrpc::decode_response::<()>(body.as_bytes(), &Limits::RESPONSE).expect(error);
        answer.result.expect_err("a failure")
    };
    let expected = Failure::new("A", ["b", "5"]);
    assert_eq!(failure(r#"["A","b",5]"#), expected);
    assert_eq!(failure(r#"{"code":1,"message":"A","data":["b","5"]}"#), expected);
    assert_eq!(failure(r#"{"data":["b","5"],"message":"A"}"#), expected);
    assert_eq!(failure(r#"{"code":"A","data":"b"}"#), Failure::new("A", ["b"]));
    assert_eq!(failure(r#"{"code":"7","message":"A","data":null}"#), Failure::new("A", [""; 0]));
    assert_eq!(failure(r#""A""#), Failure::new("A", [""; 0]));
    assert_eq!(failure("[]"), Failure::new("", [""; 0]));
    // Outside the dispatcher XAPI answers in the form of 2.0 with a list and id 0.
    let body = br#"{"jsonrpc":"2.0","error":["HOST_STILL_BOOTING"],"id":0}"#;
    let answer = jsonrpc::decode_response::<i64>(body, &Limits::RESPONSE).expect("an answer");
    assert_eq!(
        (answer.id, answer.result),
        (Some(0.into()), Err(Failure::new("HOST_STILL_BOOTING", [""; 0])))
    );
    // A result beside a failure is not looked at.
    let body = br#"{"result":{"a":[]},"error":["A"],"id":1}"#;
    let answer = jsonrpc::decode_response::<i64>(body, &Limits::RESPONSE).expect("an answer");
    assert_eq!(answer.result, Err(Failure::new("A", [""; 0])));
    // A null result is a value when there is no error.
    let body = br#"{"result":null,"error":null,"id":1}"#;
    let answer = jsonrpc::decode_response::<Option<i64>>(body, &Limits::RESPONSE).expect("an answer");
    assert_eq!(answer.result, Ok(None));
}

#[test]
fn calls_over_json() {
    let decode = |text: &str| jsonrpc::decode_call(text.as_bytes(), &Limits::REQUEST).map(|call| call.params);
    let object: Value = [("a", 1)].into_iter().collect();
    for (params, v1, v2) in [
        (r#","params":[1]"#, Some(vec![1.into()]), Some(vec![1.into()])),
        (r#","params":[]"#, Some(vec![]), Some(vec![])),
        (r#","params":{"a":1}"#, None, Some(vec![object])),
        (r#","params":null"#, None, Some(vec![])),
        ("", None, Some(vec![])),
        (r#","params":"a""#, None, None),
    ] {
        assert_eq!(decode(&format!(r#"{{"method":"m","id":"x"{params}}}"#)).ok(), v1, "{params}");
        assert_eq!(
            decode(&format!(r#"{{"id":1{params},"jsonrpc":"2.0","method":"m"}}"#)).ok(),
            v2,
            "{params}"
        );
    }
    for (member, call) in [("method", r#"{"id":1,"params":[]}"#), ("id", r#"{"method":"m","params":[]}"#)] {
        assert_eq!(decode(call).expect_err(call).kind(), &Kind::Missing(member.into()));
    }
    for call in [
        r#"{"jsonrpc":2.0,"method":"m","params":[],"id":1}"#,
        r#"{"jsonrpc":"1.0","method":"m","params":[],"id":1}"#,
        r#"{"method":"m","params":[],"id":1.5}"#,
        r#"{"method":"m","params":[],"id":null}"#,
        r#"{"method":1,"params":[],"id":1}"#,
    ] {
        assert!(matches!(decode(call).expect_err(call).kind(), Kind::Malformed(_)), "{call}");
    }
}

#[test]
fn plugins() {
    let call = plugin::PluginCall {
        function: "copy".into(),
        session: "OpaqueRef:s".into(),
        args: [("path".to_owned(), "a&<b>\r".to_owned())].into(),
    };
    let argument = call.encode().expect("a call");
    assert_eq!(plugin::PluginCall::decode(&argument), Ok(call.clone()));
    assert!(!format!("{call:?}").contains("OpaqueRef"), "{call:?}");
    let odd = argument.replace("<struct>", "<array><data>").replace("</struct>", "</data></array>");
    plugin::PluginCall::decode(&odd).expect_err("no struct");

    let limits = &Limits::RESPONSE;
    let output = plugin::encode_response(Ok("line\n<b>")).expect("a response");
    assert_eq!(plugin::decode_response(output.as_bytes(), limits), Ok(Ok("line\n<b>".to_owned())));
    let failure = Failure::new("MY_CODE", ["p1"]);
    let output = plugin::encode_response(Err(&failure)).expect("a response");
    assert_eq!(plugin::decode_response(output.as_bytes(), limits), Ok(Err(failure)));
    assert_eq!(plugin::encode_response(Ok("\u{7}")), Err(EncodeError::Character('\u{7}')));
    plugin::decode_response(b"hello\n<?xml version='1.0'?><methodResponse/>", limits)
        .expect_err("text before");
    let fault = b"<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>7</int></value></member>\
        <member><name>faultString</name><value>t</value></member></struct></value></fault></methodResponse>";
    for (value, wrong) in [("<value>x</value>", true), ("<value><nil/></value>", true), ("<value>", false)] {
        let output = format!("<methodResponse><params><param>{value}</param></params></methodResponse>");
        let error = plugin::decode_response(output.as_bytes(), limits).expect_err(value);
        assert_eq!(matches!(error.kind(), Kind::WrongType { .. }), wrong, "{error}");
    }
    let failure = Failure::new("XENAPI_PLUGIN_FAILURE", ["fault", "7", "t"]);
    assert_eq!(plugin::decode_response(fault, limits), Ok(Err(failure)));
}
