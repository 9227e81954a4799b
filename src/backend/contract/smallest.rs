//! A result in its smallest form, for a backend that fails over the whole one.

use serde_json::Value;

/// Longest `errorDetails` of such a result, in characters.
const LONGEST: usize = 200;
/// What stands at the end of one that was cut.
const CUT: &str = " [… cut short: the backend did not take the whole text]";
/// What stands in the place of a case's text.
const LEFT_OUT: &str = "[text left out: the backend did not take it]";

/// The same verdict with as little text as can be: `isPassed`, `isError`, the names of all cases and what became of them, and the
/// beginning of `errorDetails`. The dialect and the key stay.
pub fn smallest(result: &Value) -> Value {
    let mut small = result.clone();
    let is_second = small["testResults"].is_array();
    let whole = if is_second { &mut small } else { &mut small["testResults"] };
    if let Some(Value::String(text)) = whole.get_mut("errorDetails")
        && text.chars().count() > LONGEST
    {
        let beginning: String = text.chars().take(LONGEST - CUT.chars().count()).collect();
        *text = format!("{beginning}{CUT}");
    }
    let cases = whole.get_mut(if is_second { "testResults" } else { "testCases" });
    for case in cases.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(text)) = case.get_mut("description")
            && text.len() > LEFT_OUT.len()
        {
            LEFT_OUT.clone_into(text);
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_verdict_and_the_cases_stay_and_the_texts_go() {
        let case = |text: &str| json!({"name": "a::b", "isPassed": false, "description": text, "memoryUsed": 1});
        let long = "й".repeat(5000);
        let first = json!({"attempt": 1, "testResults": {"isPassed": false, "isError": true, "errorDetails": long,
            "testCases": [case(&long), case("")]}});
        let small = smallest(&first);
        assert_eq!((&small["attempt"], &small["testResults"]["isError"]), (&json!(1), &json!(true)));
        assert_eq!(small["testResults"]["errorDetails"].as_str().map(|text| text.chars().count()), Some(LONGEST));
        assert_eq!(small["testResults"]["testCases"], json!([case(LEFT_OUT), case("")]));
        let second = json!({"id": "x", "isPassed": true, "errorDetails": "short", "testResults": [case(&long)]});
        let small = smallest(&second);
        assert_eq!((&small["errorDetails"], &small["testResults"]), (&json!("short"), &json!([case(LEFT_OUT)])));
        assert_eq!(smallest(&small), small, "it cannot be made smaller");
    }
}
