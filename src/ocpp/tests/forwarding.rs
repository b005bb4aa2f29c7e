//! A management system behind the gate.

use super::*;

impl Scene {
    /// What the management system got since the last call.
    fn behind(&mut self) -> Vec<Value> {
        self.link.texts_for_behind().map(|text| serde_json::from_str(&text).unwrap()).collect()
    }

    fn behind_says(&mut self, text: &str) {
        self.link.receive_from_behind(text.as_bytes(), self.now, &mut self.received);
        if self.link.next_deadline().is_some_and(|at| at <= self.now.mono) {
            self.wakes().unwrap();
        }
    }
}

#[test]
fn what_is_not_about_money_is_answered_behind_and_money_here() {
    let mut scene = Scene::with_behind(Version::V16);
    // The management system is dialled: what is for it waits.
    scene.calls("1", "BootNotification", r#"{"chargePointVendor":"V","chargePointModel":"M"}"#);
    assert!(scene.answers()[0].contains(r#""status":"Accepted""#), "the gate lets it in");
    assert_eq!(scene.behind(), Vec::<Value>::new());
    scene.link.behind_opened();
    let [boot] = &scene.behind()[..] else { panic!("a copy") };
    assert_eq!(
        (&boot[0], &boot[2], &boot[3]["chargePointVendor"]),
        (&2.into(), &"BootNotification".into(), &"V".into())
    );
    scene.behind_says(&format!(r#"[3,{},{{"status":"Rejected"}}]"#, boot[1]));
    assert_eq!(scene.answers(), Vec::<String>::new(), "its answer to a copy counts for nothing");
    scene.takes();

    scene.calls("2", "DataTransfer", r#"{"vendorId":"acme","data":"7"}"#);
    let [data] = &scene.behind()[..] else { panic!("the call") };
    assert_eq!((&data[2], &data[3]["data"]), (&"DataTransfer".into(), &"7".into()));
    assert_ne!(data[1], "2");
    scene.behind_says(&format!(r#"[3,{},{{"status":"Accepted","data":"8"}}]"#, data[1]));
    assert_eq!(scene.answers(), [r#"[3,"2",{"status":"Accepted","data":"8"}]"#]);

    scene.calls("3", "Authorize", r#"{"idTag":"ACCT-0001"}"#);
    assert_eq!(scene.behind(), Vec::<Value>::new());
    assert!(matches!(scene.unnumbered()[..], [Unnumbered::Authorize { .. }]));
}

#[test]
fn its_calls_reach_the_charger_one_at_a_time_under_ids_of_the_gate() {
    let mut scene = Scene::with_behind(Version::V201);
    scene.link.behind_opened();
    scene.behind_says(r#"[2,"m1","Reset",{"type":"Immediate"}]"#);
    scene.behind_says(r#"[2,"m1","Reset",{"type":"Immediate"}]"#);
    scene.behind_says(r#"[2,"m2","GetVariables",{"getVariableData":[]}]"#);
    let [reset] = &scene.hears()[..] else { panic!("one at a time, and none twice") };
    let reset: Value = serde_json::from_str(reset).unwrap();
    assert_eq!((&reset[2], &reset[3]["type"]), (&"Reset".into(), &"Immediate".into()));
    assert_ne!(reset[1], "m1");
    scene.says(&format!(r#"[3,{},{{"status":"Accepted"}}]"#, reset[1]));
    let [answer] = &scene.behind()[..] else { panic!("the answer") };
    assert_eq!(answer.to_string(), r#"[3,"m1",{"status":"Accepted"}]"#);
    let [variables] = &scene.hears()[..] else { panic!("the next") };
    let variables: Value = serde_json::from_str(variables).unwrap();
    scene.says(&format!(r#"[4,{},"NotSupported","no",{{}}]"#, variables[1]));
    let [answer] = &scene.behind()[..] else { panic!("the refusal") };
    assert_eq!(answer.to_string(), r#"[4,"m2","NotSupported","no",{}]"#);
    // One that the charger does not answer.
    scene.behind_says(r#"[2,"m3","ClearCache",{}]"#);
    scene.hears();
    scene.passes(30);
    scene.wakes().unwrap();
    let [answer] = &scene.behind()[..] else { panic!("a refusal") };
    assert_eq!((&answer[0], &answer[1], &answer[2]), (&4.into(), &"m3".into(), &"GenericError".into()));
}

#[test]
fn where_it_is_away_or_slow_the_gate_answers_and_money_goes_on() {
    let mut scene = Scene::with_behind(Version::V16);
    scene.link.behind_opened();
    scene.calls("1", "DataTransfer", r#"{"vendorId":"acme"}"#);
    // Behind it: a call about money is not held back.
    scene.calls("2", "MeterValues", r#"{"connectorId":1,"meterValue":[]}"#);
    let ticket = scene.fence();
    scene.answer(Answer::Passed { ticket, bill: None });
    assert_eq!(scene.answers(), [r#"[3,"2",{}]"#]);
    scene.passes(20);
    scene.wakes().unwrap();
    assert_eq!(scene.answers(), [r#"[3,"1",{"status":"UnknownVendorId"}]"#]);
    scene.behind_says(r#"[3,"late",{}]"#);
    // Its connection breaks while a call waits for it.
    scene.calls("3", "DataTransfer", r#"{"vendorId":"acme"}"#);
    assert_eq!(scene.answers(), Vec::<String>::new());
    scene.link.behind_closed();
    scene.wakes().unwrap();
    assert_eq!(scene.answers(), [r#"[3,"3",{"status":"UnknownVendorId"}]"#]);
    scene.calls("4", "DataTransfer", r#"{"vendorId":"acme"}"#);
    assert_eq!(scene.answers(), [r#"[3,"4",{"status":"UnknownVendorId"}]"#], "at once while it is away");
    scene.link.behind_opened();
    scene.calls("5", "DataTransfer", r#"{"vendorId":"acme"}"#);
    assert_eq!(scene.answers(), Vec::<String>::new(), "it is back");
}

#[test]
fn what_waits_for_it_is_bounded() {
    let mut scene = Scene::with_behind(Version::V16);
    for number in 0..200 {
        scene.calls(&format!("h{number}"), "Heartbeat", "{}");
    }
    assert_eq!(scene.answers().len(), 200);
    scene.link.behind_opened();
    assert_eq!(scene.behind().len(), limits::OCPP_FORWARDED_WAITING);
    for number in 0..200 {
        scene.behind_says(&format!(r#"[2,"c{number}","ClearCache",{{}}]"#));
    }
    let refused = scene.behind();
    assert!(!refused.is_empty() && refused.len() <= limits::OCPP_FORWARDED_WAITING, "{}", refused.len());
    assert!(refused.iter().all(|refused| refused[0] == 4 && refused[2] == "GenericError"));
}

#[test]
fn a_management_system_that_calls_without_end_keeps_no_stop_from_the_charger() {
    let mut scene = Scene::with_behind(Version::V16);
    scene.link.behind_opened();
    scene.answer(Answer::Open { session: SessionKey(17), name: None });
    for number in 0..300 {
        scene.behind_says(&format!(r#"[2,"c{number}","ClearCache",{{}}]"#));
    }
    let first = scene.hears();
    assert_eq!(first.len(), 1, "one call at a time");
    // The charger does not answer it. The stop is next.
    scene.stops(17);
    scene.passes(10);
    scene.wakes().unwrap();
    assert!(scene.hears()[0].contains("RemoteStopTransaction"));
}
