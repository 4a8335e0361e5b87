# Prints the leaves of a JSON text, a line each: /path/to/the/member=value. Escapes of strings stay as they are.
{ text = text $0 " " }
END { at = 1; value("") }

function blank() { while (substr(text, at, 1) ~ /[ \t\r]/) at++ }

function string(    from) {
    from = ++at
    while (substr(text, at, 1) != "\"" && at <= length(text)) at += substr(text, at, 1) == "\\" ? 2 : 1
    at++
    return substr(text, from, at - from - 1)
}

function value(path,    first, from, key, number) {
    blank()
    first = substr(text, at, 1)
    if (first == "\"") { print path "=" string(); return }
    if (first != "{" && first != "[") {
        from = at
        while (substr(text, at, 1) ~ /[-+.0-9a-zA-Z]/) at++
        if (at == from) exit 1
        print path "=" substr(text, from, at - from)
        return
    }
    at++
    blank()
    if (substr(text, at, 1) ~ /[]}]/) { at++; return }
    number = 0
    do {
        blank()
        key = number++
        if (first == "{") { key = string(); blank(); at++ }
        value(path "/" key)
        blank()
    } while (substr(text, at++, 1) == ",")
}
