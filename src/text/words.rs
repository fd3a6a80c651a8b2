/// The expression as the reference cleans it (quirk 35): lower case, without `.,'!?"()*#:;`,
/// with `-` and `/` as spaces.
pub fn clean(expression: &str) -> String {
    expression
        .to_lowercase()
        .chars()
        .filter(|c| !".,'!?\"()*#:;".contains(*c))
        .map(|c| if matches!(c, '-' | '/') { ' ' } else { c })
        .collect()
}

/// The words of the cleaned expression.
pub fn words(expression: &str) -> Vec<String> {
    // Python also splits at the four separator controls.
    let space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    clean(expression).split(space).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
