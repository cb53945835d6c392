//! Which functions an analyst may call: those of known, pure categories, and single ones by name.

use crate::engine::{EngineFacts, FunctionFacts};

/// Table functions that make rows from their arguments alone.
const TABLE_FUNCTIONS: &[&str] = &["generateSeries", "generate_series", "numbers", "values"];

/// Categories of `system.functions` that compute from their arguments alone. Left out: AI,
/// dictionaries, introspection, internal, machine learning, and whatever a newer engine adds.
const CATEGORIES: &[&str] = &[
    "Arithmetic",
    "Arrays",
    "Bit",
    "Bitmap",
    "Comparison",
    "Conditional",
    "Dates and Times",
    "Distance",
    "Encoding",
    "Encryption",
    "Financial",
    "Geo",
    "Geo Polygon",
    "Hash",
    "IP Address",
    "JSON",
    "Logical",
    "Map",
    "Mathematical",
    "Null",
    "NumericIndexedVector",
    "QBit",
    "Random Number",
    "Rounding",
    "String",
    "String Replacement",
    "String Search",
    "String Splitting",
    "Time Window",
    "Tuple",
    "Type Conversion",
    "URL",
    "UUID",
];

/// Functions outside those categories. Not here, because they reach the host, the server or
/// other users: `file`, `catboostEvaluate`, `joinGet`, `hasColumnInTable` (which takes a host),
/// `getServerSetting`, `getMacro`, `filesystem...`, `hostName`, `sleep` and the like.
const BY_NAME: &[&str] = &[
    "_CAST",
    "MACNumToString",
    "MACStringToNum",
    "bar",
    "blockNumber",
    "byteSize",
    "caseWithExpression",
    "countDigits",
    "currentDatabase",
    "currentUser",
    "defaultValueOfArgumentType",
    "defaultValueOfTypeName",
    "digits",
    "exists",
    "finalizeAggregation",
    "formatQuery",
    "formatQuerySingleLine",
    "formatReadableDecimalSize",
    "formatReadableQuantity",
    "formatReadableSize",
    "formatReadableTimeDelta",
    "getSubcolumn",
    "globalVariable",
    "grouping",
    "identity",
    "ignore",
    "initializeAggregation",
    "isConstant",
    "isDecimalOverflow",
    "lambda",
    "lowCardinalityIndices",
    "lowCardinalityKeys",
    "materialize",
    "minSampleSizeContinuous",
    "minSampleSizeConversion",
    "neighbor",
    "normalizeQuery",
    "normalizedQueryHash",
    "parseReadableSize",
    "parseReadableSizeOrNull",
    "parseReadableSizeOrZero",
    "parseTimeDelta",
    "rowNumberInAllBlocks",
    "rowNumberInBlock",
    "runningAccumulate",
    "runningDifference",
    "runningDifferenceStartingWithFirstValue",
    "throwIf",
    "toColumnTypeName",
    "toTypeName",
    "transform",
    "untuple",
    "variantElement",
    "variantType",
    "version",
    "visibleWidth",
];

/// Checks a function in FROM.
pub(super) fn check_table_function(name: &str) -> Result<(), String> {
    if TABLE_FUNCTIONS.contains(&name) {
        return Ok(());
    }
    Err(format!("the analyst cannot use table function {name}"))
}

/// Checks a function anywhere else.
pub(super) fn check(name: &str, facts: &EngineFacts) -> Result<(), String> {
    let allowed = match lookup(name, facts) {
        Some((known, function)) => is_allowed(known, function, facts),
        None => BY_NAME.contains(&name) || is_combined_aggregate(name, facts),
    };
    if allowed {
        return Ok(());
    }
    Err(format!("the analyst cannot use function {name}"))
}

/// The engine's entry for `name`, which for some functions may be in any case.
fn lookup<'f>(name: &str, facts: &'f EngineFacts) -> Option<(&'f str, &'f FunctionFacts)> {
    if let Some((known, function)) = facts.functions.get_key_value(name) {
        return Some((known, function));
    }
    let any_case = |(known, function): &(&String, &FunctionFacts)| {
        function.case_insensitive && known.eq_ignore_ascii_case(name)
    };
    facts
        .functions
        .iter()
        .find(any_case)
        .map(|(known, function)| (known.as_str(), function))
}

fn is_allowed(name: &str, function: &FunctionFacts, facts: &EngineFacts) -> bool {
    if BY_NAME.contains(&name) || function.is_aggregate {
        return true;
    }
    if function.alias_to.is_empty() {
        return CATEGORIES.contains(&function.categories.as_str());
    }
    // Aliases have no category of their own, and do not lead to other aliases.
    BY_NAME.contains(&function.alias_to.as_str())
        || facts.functions.get(&function.alias_to).is_some_and(|target| {
            target.is_aggregate
                || (target.alias_to.is_empty() && CATEGORIES.contains(&target.categories.as_str()))
        })
}

/// Whether `name` is an aggregate function with combinators, as `sumIf` or `uniqStateOrNull`.
fn is_combined_aggregate(name: &str, facts: &EngineFacts) -> bool {
    facts.combinators.iter().any(|combinator| {
        let Some(base) = name
            .strip_suffix(combinator.as_str())
            .filter(|base| !base.is_empty())
        else {
            return false;
        };
        lookup(base, facts).is_some_and(|(_, function)| function.is_aggregate)
            || is_combined_aggregate(base, facts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> EngineFacts {
        let function = |is_aggregate, alias_to: &str, categories: &str| FunctionFacts {
            is_aggregate,
            case_insensitive: is_aggregate,
            alias_to: alias_to.to_owned(),
            categories: categories.to_owned(),
        };
        let functions = [
            ("sum", function(true, "", "Aggregate")),
            ("lower", function(false, "", "String")),
            ("lcase", function(false, "lower", "")),
            ("file", function(false, "", "Other")),
            ("FILE_ALIAS", function(false, "file", "")),
            ("aiGenerate", function(false, "", "AI")),
        ];
        EngineFacts {
            functions: functions
                .map(|(name, facts)| (name.to_owned(), facts))
                .into_iter()
                .collect(),
            combinators: vec!["If".to_owned(), "State".to_owned()],
            ..EngineFacts::default()
        }
    }

    #[test]
    fn allows_pure_functions_aliases_and_aggregates() {
        for name in ["lower", "lcase", "sum", "SUM", "sumIf", "sumStateIf", "lambda"] {
            assert_eq!(check(name, &facts()), Ok(()), "{name}");
        }
    }

    #[test]
    fn refuses_host_functions_their_aliases_and_the_unknown() {
        for name in [
            "file",
            "FILE_ALIAS",
            "aiGenerate",
            "unknown",
            "fileIf",
            "If",
            "LOWER",
        ] {
            assert!(check(name, &facts()).is_err(), "{name}");
        }
    }

    #[test]
    fn table_functions_are_a_short_list() {
        assert_eq!(check_table_function("numbers"), Ok(()));
        assert!(check_table_function("file").is_err());
    }
}
