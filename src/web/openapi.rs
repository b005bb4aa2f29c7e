//! The document of the API (OpenAPI 3.1), made of the table of routes and the types of their handlers.

use super::problem::CODES;
use super::routes::{Action, Pin, ROUTES, Route};
use crate::units::shape::Shapes;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The document as text.
pub(super) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", made()));
    &DOCUMENT
}

fn made() -> Value {
    let mut shapes = Shapes::default();
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.pattern).or_insert_with(|| json!({}));
        let method = if matches!(route.action, Action::Order(..)) { "post" } else { "get" };
        path[method] = operation(route, method, &mut shapes);
    }
    let codes: Vec<&str> = CODES.iter().map(|(code, ..)| *code).collect();
    let mut schemas = shapes.into_map();
    schemas.insert(
        "Problem".to_owned(),
        json!({
            "type": "object",
            "description": "A refusal (RFC 9457).",
            "required": ["type", "title", "status", "code", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "code": { "type": "string", "enum": codes },
                "detail": { "type": "string" },
                "parameter": { "type": "string", "description": "The parameter that is wrong." },
            },
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "wattstile",
            "version": "1",
            "description": "The API of a payment gatekeeper. Amounts are decimal text in major units of their currency.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, method: &str, shapes: &mut Shapes) -> Value {
    let segments = route.pattern.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = segments
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(route.parameters.iter().map(|parameter| {
        let (name, about) = (parameter.name, parameter.about);
        json!({ "name": name, "in": "query", "required": false, "description": about, "schema": parameter.shape() })
    }));
    if matches!(route.action, Action::Order(_, ordering) if ordering.pin != Pin::Question) {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string", "maxLength": 255 },
            "description": "The same order with the same key is carried out once, however often it is sent.",
        }));
    }
    let content: Map<String, Value> = (route.gives)(shapes)
        .into_iter()
        .map(|(media, schema)| (media.to_owned(), json!({ "schema": schema })))
        .collect();
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let mut operation = json!({
        "operationId": operation_id(method, route.pattern),
        "summary": route.about,
        "tags": [tag(route.pattern)],
        "parameters": parameters,
        "responses": {
            "200": { "description": route.about, "content": content },
            "default": { "description": "A refusal.", "content": problem },
        },
    });
    if let Some(takes) = route.takes {
        let schema = takes(shapes);
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    match route.action {
        Action::Probe(_) => operation["security"] = json!([]),
        Action::Query(_) | Action::Order(..) => {
            operation["x-roles"] = route.roles.names().collect::<Vec<_>>().into();
        }
    }
    operation
}

/// What clients call it: `get_sessions_id`, `post_accounts_id_topup`.
fn operation_id(method: &str, pattern: &str) -> String {
    let path = pattern.strip_prefix("/api/v1").unwrap_or(pattern);
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |name, word| name + "_" + word)
}

fn tag(pattern: &str) -> &str {
    pattern.strip_prefix("/api/v1/").map_or("probes", |path| path.split(['/', '.']).next().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_in_the_document_with_its_parameters_and_answers() {
        let document: Value = serde_json::from_str(document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids = BTreeSet::new();
        for route in ROUTES {
            let method = route.action.methods()[0].as_str().to_lowercase();
            let operation = &document["paths"][route.pattern][&method];
            assert!(operation.is_object(), "{method} {}", route.pattern);
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{}", route.pattern);
            let named: Vec<&str> =
                operation["parameters"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
            for parameter in route.parameters {
                assert!(named.contains(&parameter.name), "{}: {}", route.pattern, parameter.name);
            }
            let content = operation["responses"]["200"]["content"].as_object().unwrap();
            assert!(!content.is_empty(), "{}", route.pattern);
            assert_eq!(operation["requestBody"].is_object(), route.takes.is_some(), "{}", route.pattern);
        }
        let count: usize =
            document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(count, ROUTES.len());
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document: Value = serde_json::from_str(document()).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut waiting = vec![&document];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Object(members) => {
                    if let Some(reference) = members.get("$ref") {
                        let name = reference.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap();
                        assert!(schemas[name].is_object(), "{name}");
                    }
                    waiting.extend(members.values());
                }
                Value::Array(items) => waiting.extend(items),
                _ => {}
            }
        }
        let session = &schemas["SessionSheet"];
        assert_eq!(
            session["properties"]["cost"]["format"], "decimal",
            "members of a list's row are those of the sheet"
        );
        assert!(session["required"].as_array().unwrap().iter().any(|name| name == "gross"));
        assert_eq!(schemas["Refunding"]["required"], json!([]));
    }
}
