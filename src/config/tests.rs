//! Mistakes in configurations, and the problems that they cause.

use super::*;
use crate::units::{Amount, Currency};

fn load(source: &str) -> Result<Config, ConfigError> {
    let path = Some(PathBuf::from("wattstile.toml"));
    Layers { path, source: source.to_owned(), ..Layers::default() }.load().map(|loaded| loaded.config)
}

/// Configuration, line, and what the message must contain.
const MISTAKES: &[(&str, usize, &[&str])] = &[
    ("[chargers]\nlisen = \"127.0.0.1:1\"", 2, &["unknown key `lisen` in [chargers]", "did you mean `listen`?"]),
    ("[charger]\n", 1, &["unknown key `charger` in the configuration", "did you mean `chargers`?"]),
    ("[gate]\nmode = \"prod\"", 2, &["`gate.mode` cannot be this", "\"development\" or \"production\""]),
    ("[gate]\npartitions = 0", 2, &["there must be a partition"]),
    ("[gate]\npartitions = 70000", 2, &["a whole number from 0 to 65535"]),
    ("[gate]\npartitions = \"64\"", 2, &["a whole number from 0 to 65535, not a text"]),
    ("[gate]\npartitions = 64.0", 2, &["not a number with a fraction"]),
    ("[gate]\npartitions = 2\nshards = 3", 3, &["3 shards for 2 partitions"]),
    ("[gate]\nname = 5", 2, &["a text, not a number"]),
    ("[gate]\ndata_dir = \"\"", 2, &["a path, not nothing"]),
    ("gate = true", 1, &["`gate` is a section", "write `[gate]`"]),
    ("[chargers]\nlisten = 7443", 2, &["such as \"127.0.0.1:7443\"", "not a number"]),
    ("[chargers]\nlisten = \"localhost\"", 2, &["an address and port"]),
    ("[chargers]\nconnections_max = 0", 2, &["no peer could connect"]),
    ("[chargers]\nsilence = \"15 parsecs\"", 2, &["a span of time such as"]),
    ("[chargers]\nclock_ahead_max = \"of\"", 2, &["or \"off\""]),
    ("[ocpp]\ninsecure_listen = \"0.0.0.0:9000\"", 2, &["passwords would go over the network", "others can reach"]),
    ("[ocpp]\ninsecure_listen = \"127.0.0.1:9000\"", 2, &["no charger could connect", "there are no passwords"]),
    ("[ocpp]\nforward = \"http://csms\"", 2, &["wanted an address such as ws://"]),
    ("[ocpp]\nforward = \"wss://csms.example/ocpp\"", 2, &["could not be recognised", "ocpp.forward_ca_file"]),
    ("[ocpp]\npower_max_kw = 0", 2, &["every reading would be suspect"]),
    ("[chargers]\nlisten = \"127.0.0.1:7444\"", 0, &["two listeners at one address", "chargers.listen"]),
    ("[tls]\nmin_version = 1.2", 2, &["\"1.2\" or \"1.3\"", "not a number with a fraction"]),
    ("[tls]\ntrust_domain = \"Our Domain\"", 2, &["not a trust domain"]),
    ("[tls]\ncrl_files = \"crl.pem\"", 2, &["a list, not a text"]),
    ("[[processor]]\nid = \"account:driver-1\"", 2, &["`account:driver-1`", "stand for the gate's accounts"]),
    ("[processor]\nid = \"acme\"", 1, &["`processor` is a list of sections", "[[processor]]"]),
    ("[[processor]]\nweight = 2", 1, &["`processor.id` is missing"]),
    ("[[processor]]\nid = \"a b\"", 2, &["a processor's id", "may not contain"]),
    ("[[processor]]\nid = \"acme\"\n[[processor]]\nid = \"acme\"", 3, &["two processors are called `acme`"]),
    ("[[processor]]\nid = \"acme\"\ncredentials = [\"card\"]", 3, &["\"card-token\" or \"wallet-token\""]),
    ("[[processor]]\nid = \"acme\"\ncurrencies = [\"EURO\"]", 3, &["a currency code such as \"EUR\""]),
    ("[[site]]\nid = \"AMS\"\ntime_zone = \"Europe/Amsterdm\"", 3, &["a time zone such as"]),
    ("[[site]]\nid = \"AMS\"\nchargers = [\"AMS 1\"]", 3, &["with * for any characters", "may not contain"]),
    ("[[site]]\nid = \"AMS\"\ncountry = \"NL\"", 1, &["the country of site AMS", "such as NLD"]),
    ("[[assignment]]\nchargers = \"AMS-*\"", 1, &["`assignment.tariff` is missing"]),
    ("[payment]\nfloor_limit_minor = -1", 2, &["an amount below nothing"]),
    ("[payment]\nfloor_limit_minor = 20.00", 2, &["not a number with a fraction"]),
    ("[payment]\nfirst_hold = 45", 2, &["an amount with its currency", "not a number"]),
    ("[payment]\nfirst_hold = \"1,500 EUR\"", 2, &["could be 1.50 EUR or 1500.00 EUR"]),
    ("[payment]\ntotal_max = [\"10 EUR\", \"500000 HUF\"]", 2, &["less than `payment.first_hold` in EUR"]),
    ("[payment]\npartial_min = \"1001 EUR\"", 2, &["more than `payment.total_max` in EUR"]),
    ("[payment]\nstop_latency = \"0s\"", 2, &["no charger stops in no time"]),
    ("[payment]\nanswer_capture = \"0s\"", 2, &["wanted more than 0"]),
    ("[chargers]\nsilence = \"0s\"", 2, &["wanted more than 0"]),
    (
        "[[assignment]]\nchargers = \"AMS-*\"\ntariff = \"A\"\n[[assignment]]\nchargers = \"AMS-*\"\ntariff = \"B\"",
        4,
        &["two tariffs are assigned to the chargers `AMS-*`", "B here, A before"],
    ),
    (
        "[[processor]]\nid = \"acme\"\nleast = \"9 EUR\"\ngreatest = \"5 EUR\"",
        1,
        &["`processor.least` of acme is above", "no hold in EUR fits"],
    ),
    ("[payment]\nfirst_hold = \"45 EUR\"\nfirst_hold_major = 45", 3, &["the old spelling of `payment.first_hold`"]),
    ("[payment]\ndouble_hold = \"no\"", 2, &["true or false, not a text"]),
    ("[log]\nlevel = \"wran,=\"", 2, &["not a level"]),
    // Read as a pattern it would take seconds: found by the fuzzer.
    ("[log]\nlevel = \"a[b{c = n&&&&&&&&&&&&&&.............*...-.........*....d = }}2=\"", 2, &["not a level"]),
    ("[log]\nformat = \"xml\"", 2, &["\"auto\" or \"text\" or \"json\""]),
    ("[console]\nlisten = \"0.0.0.0:8490\"", 2, &["the console is for this machine only", "`console.probes_listen`"]),
    ("[console]\nprobes_listen = \"127.0.0.1:8490\"", 2, &["two listeners at one address", "`console.listen`"]),
    ("[gate]\nname = \"a\"\nname = \"b\"", 3, &["not TOML", "duplicate key"]),
    ("[gate\nname = \"a\"", 1, &["not TOML"]),
    ("[gate]\nname = 'a", 2, &["not TOML"]),
];

#[test]
fn every_mistake_has_its_line_and_a_way_out() {
    for (source, line, expected) in MISTAKES {
        let error = load(source).expect_err(source);
        let text = error.to_string();
        for part in *expected {
            assert!(text.contains(part), "{source}\nshould say {part:?} and says\n{text}");
        }
        let lines: Vec<Option<usize>> = error.problems.iter().map(|problem| error.line(problem)).collect();
        let expected = (*line > 0).then_some(*line);
        assert!(lines.contains(&expected), "{source}\nshould point at line {line}, points at {lines:?}\n{text}");
        if *line > 0 {
            assert!(text.contains(&format!("wattstile.toml:{line}")) && text.contains('^'), "{text}");
        }
    }
}

#[test]
fn brackets_that_do_not_match_are_refused_before_they_take_forever() {
    // Found by the fuzzer: a text of this kind took a minute.
    let source = format!("[[site]]\n{}\nt", "id = [\0}n ={\"l\" [co}ol\nlc \0n ={l\" [c[site]]\n".repeat(24));
    let error = load(&source).unwrap_err();
    assert!(error.to_string().contains("more than 16 brackets are open here"), "{error}");
    let harmless = format!("# {}\n[gate]\nname = \"{}\" # ]\n", "[".repeat(40), "a");
    assert!(load(&harmless).is_ok());
    assert!(load(&format!("[gate]\nname = \"\\\"{}\"\n", "{".repeat(40))).is_ok());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let source = "[gate]\nmode = \"prod\"\npartitons = 3\n[chargers]\nlisten = 1\n[tarifs]\n[[site]]\n";
    let error = load(source).unwrap_err();
    let mut lines: Vec<Option<usize>> = error.problems.iter().map(|problem| error.line(problem)).collect();
    lines.sort();
    assert_eq!(lines, [2, 3, 5, 6, 7].map(Some));
}

#[test]
fn nothing_at_all_is_a_configuration() {
    assert_eq!(load("").unwrap(), Config::default());
    assert_eq!(Config::default().session_policy(), session::Policy::default());
}

#[test]
fn the_commented_file_says_what_is_built_in() {
    let file = commented_file();
    assert_eq!(load(&file).unwrap(), Config::default());
    // Without the comment signs in front of its settings it is the same configuration, spelled out.
    let mut in_list = false;
    let mut spelled = Vec::new();
    for line in file.lines().filter(|line| !line.ends_with("# not set")) {
        match line.strip_prefix('#').unwrap_or(line) {
            section if section.starts_with('[') => {
                in_list = section.starts_with("[[");
                spelled.extend((!in_list).then_some(section));
            }
            setting if setting.starts_with(|first: char| first.is_ascii_lowercase()) && !in_list => {
                spelled.push(setting);
            }
            _ => {}
        }
    }
    assert!(spelled.len() > 40, "{spelled:?}");
    assert_eq!(load(&spelled.join("\n")).unwrap(), Config::default());
}

#[test]
fn later_layers_win_and_each_value_knows_where_it_came_from() {
    let layers = Layers {
        path: Some("wattstile.toml".into()),
        source: "[gate]\nname = \"file\"\nshards = 1\n[chargers]\nconnections_max = 5".to_owned(),
        environment: vec![
            ("WATTSTILE_GATE__NAME".to_owned(), "environment".to_owned()),
            ("WATTSTILE_CHARGERS__LISTEN".to_owned(), "127.0.0.1:1".to_owned()),
            ("WATTSTILE_CONFIG".to_owned(), "not a setting".to_owned()),
            ("HOME".to_owned(), "/home/gate".to_owned()),
        ],
        flags: vec!["gate.name=flag".to_owned(), "tls.crl_files=a.pem, b.pem".to_owned()],
    };
    let loaded = layers.load().unwrap();
    assert_eq!(loaded.config.gate.name, "flag");
    assert_eq!(loaded.config.tls.crl_files, [PathBuf::from("a.pem"), PathBuf::from("b.pem")]);
    assert_eq!(loaded.origin("gate", "name"), "--set gate.name=flag");
    assert_eq!(loaded.origin("gate", "shards"), "wattstile.toml:3");
    assert_eq!(loaded.origin("chargers", "listen"), "WATTSTILE_CHARGERS__LISTEN");
    assert_eq!(loaded.origin("chargers", "connections_max"), "wattstile.toml:5");
    assert_eq!(loaded.origin("gate", "mode"), "built in");
}

#[test]
fn a_wrong_variable_is_named() {
    let environment = vec![("WATTSTILE_GATE__PARTITONS".to_owned(), "3".to_owned())];
    let error = Layers { environment, ..Layers::default() }.load().unwrap_err().to_string();
    assert!(error.contains("WATTSTILE_GATE__PARTITONS") && error.contains("did you mean `partitions`?"), "{error}");
}

/// A single underscore was ignored without a word.
#[test]
fn a_variable_that_is_no_setting_is_reported_with_the_near_one() {
    let warnings = |name: &str| {
        let environment = vec![(name.to_owned(), "127.0.0.1:1".to_owned())];
        Layers { environment, ..Layers::default() }.load().unwrap().warnings()
    };
    for (name, meant) in [
        ("WATTSTILE_CHARGERS_LISTEN", "did you mean WATTSTILE_CHARGERS__LISTEN?"),
        ("WATTSTILE_PAYMENT_TOTAL_MAX", "did you mean WATTSTILE_PAYMENT__TOTAL_MAX?"),
        ("WATTSTILE_CONFG", "did you mean WATTSTILE_CONFIG?"),
        ("WATTSTILE_SOMETHING_ELSE", "WATTSTILE_SECTION__KEY"),
    ] {
        let found = warnings(name);
        assert!(found.len() == 1 && found[0].contains(name) && found[0].contains(meant), "{found:?}");
    }
    for name in ["WATTSTILE_CONFIG", "WATTSTILE_PORT_7443_TCP", "WATTSTILE_SERVICE_HOST", "HOME", "WATTSTILE"] {
        assert_eq!(warnings(name), [] as [&str; 0], "{name}");
    }
}

#[test]
fn the_most_specific_assignment_counts() {
    let config = load(
        "[tariffs]\ndefault = \"COMMON\"\ntime_zone = \"Europe/Berlin\"\n\
         [[assignment]]\nchargers = \"AMS-*\"\ntariff = \"AMS\"\n\
         [[assignment]]\nchargers = \"AMS-DC-*\"\ntariff = \"FAST\"\n\
         [[site]]\nid = \"AMS\"\nchargers = [\"AMS-*\"]\ntime_zone = \"Europe/Amsterdam\"",
    )
    .unwrap();
    let charger = |id: &str| id.parse::<ChargerId>().unwrap();
    let tariff = |id| config.tariff_of(&charger(id)).unwrap().as_str();
    assert_eq!((tariff("AMS-DC-1"), tariff("AMS-AC-1"), tariff("UTR-1")), ("FAST", "AMS", "COMMON"));
    assert_eq!(config.zone_of(&charger("AMS-1")).as_str(), "Europe/Amsterdam");
    assert_eq!(config.zone_of(&charger("UTR-1")).as_str(), "Europe/Berlin");
    let may = config.may_speak_for();
    assert!(may(&"AMS".parse().unwrap(), &charger("AMS-1")) && !may(&"AMS".parse().unwrap(), &charger("UTR-1")));
    assert!(!may(&"UTR".parse().unwrap(), &charger("UTR-1")));
}

#[test]
fn amounts_without_a_currency_are_read_and_told() {
    let source =
        "[payment]\nfirst_hold_major = 60\ntotal_max_minor = 50000\n[[processor]]\nid = \"acme\"\nleast_minor = 500\n";
    let loaded = Layers { source: source.to_owned(), ..Layers::default() }.load().unwrap();
    let policy = loaded.config.session_policy();
    assert_eq!(
        (policy.currency, policy.first_hold_minor, policy.payment.total_max_minor),
        (Currency::EUR, 6_000, 50_000)
    );
    assert_eq!(loaded.config.routing_rules()[0].least, [Amount::new(500, Currency::EUR)]);
    let warnings = loaded.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings[0].contains(":2: `payment.first_hold_major = 60` has no currency and is read as 60"),
        "{warnings:?}"
    );
    let forints = load("[payment]\ncurrency = \"HUF\"\nfirst_hold_major = 18000").unwrap();
    let policy = forints.session_policy();
    assert_eq!((policy.currency.code(), policy.first_hold_minor), ("HUF", 1_800_000));
    assert_eq!(std::sync::Arc::new(policy).of_currency(Currency::EUR).payment.total_max_minor, 100_000);
}

#[test]
fn no_text_takes_a_card_number_or_repeats_it() {
    for source in [
        "[operator]\nname = \"4111111111111111\"",
        "[operator]\naddress = \"1 Street, 4111 1111 1111 1111\"",
        "[gate]\nname = \"gate-5555555555554444\"",
        "[receipts]\naddress = \"https://a.example/4111-1111-1111-1111/\"",
        "[[processor]]\nid = \"4111111111111111\"",
        "[[site]]\nid = \"s:378282246310005\"",
        "[payment]\nno_holds = [\"4111111111111111\"]",
        "[operator]\nname = \"a\\u001bb\"",
        "[operator]\nname = \"a\\u202eb\"",
    ] {
        let text = load(source).expect_err(source).to_string();
        let expected = if source.contains("\\u") { "which is not shown" } else { "card's number" };
        assert!(text.contains(expected), "{source}: {text}");
        let repeats = ["4111111111111111", "4111 1111", "4111-1111", "5555555555554444", "378282246310005"];
        assert!(repeats.into_iter().all(|number| !text.contains(number)), "{text}");
    }
}

/// Such texts stand on receipts and invoices, in answers and in the log.
#[test]
fn every_text_setting_is_screened_and_bounded() {
    let texts = [
        ("gate", "name"),
        ("operator", "name"),
        ("operator", "address"),
        ("operator", "vat_id"),
        ("receipts", "address"),
        ("tls", "trust_domain"),
        ("log", "level"),
    ];
    let long = "x".repeat(crate::limits::SETTING_CHARS_MAX + 1);
    for (section, key) in texts {
        for (value, meant) in [
            ("4111 1111 1111 1111", "card's number"),
            ("a\\u001b[2Jb", "U+001B, which is not shown"),
            ("a\\r\\nSet-Cookie: x", "U+000D, which is not shown"),
            ("a\\u202eb", "U+202E, which is not shown"),
            (&*long, "at most 200 characters, and this has 201"),
        ] {
            let text = load(&format!("[{section}]\n{key} = \"{value}\"")).expect_err(key).to_string();
            assert!(text.contains(&format!("`{section}.{key}` cannot be this")) && text.contains(meant), "{text}");
        }
    }
    let site = load("[[site]]\nid = \"a\"\nname = \"a\\u001bb\"").unwrap_err().to_string();
    assert!(site.contains("`site.name` cannot be this"), "{site}");
}
