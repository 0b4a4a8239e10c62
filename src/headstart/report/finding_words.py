"""The sentences of findings that stages write: what was found and what to do, from their codes and numbers.

Documents hold the check, its verdict, numbers and evidence; whoever shows them to people asks `told`. Editing a
sentence here makes no stage stale.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from headstart.data.checks.words import counted, does, of
from headstart.findings import Finding
from headstart.report import label_words, quarantine

Document = Mapping[str, Any]
MEASURES = {
    "id_start": "the start of the id",
    "group_start": "the start of the group",
    "group": "the group",
    "date": "the date",
    "hour": "the hour",
    "length": "the length of a text",
    "size": "the size of an image file",
    "width": "the width of an image",
    "height": "the height of an image",
    "shape": "the shape of an image",
}
"""What may give a label away."""
Words = tuple[str, str]  # reason and action
NAMED = 10
SHOWN = 3


def told(finding: Document | Finding) -> dict[str, Any]:
    """The finding with its `reason` and `action`; a document that brings a reason of its own keeps both."""
    document = finding.document() if isinstance(finding, Finding) else dict(finding)
    document = {"reason": "", "action": "", **document}
    if document["reason"] or document["check"] not in WORDS:
        return document
    reason, action = WORDS[document["check"]](document)
    return document | {"reason": reason, "action": action}


def all_told(findings: Iterable[Document | Finding]) -> list[dict[str, Any]]:
    """`told` of each."""
    return [told(finding) for finding in findings]


def refusal(findings: Iterable[Document]) -> Words:
    """The reasons of all findings that fail, each with its check, and what to do about them."""
    failed = [told(finding) for finding in findings if finding["verdict"] == "fail"]
    reasons = " ".join(f"{one['check']}: {one['reason']}" for one in failed)
    return reasons, " ".join(dict.fromkeys(one["action"] for one in failed if one["action"]))


def _passed(f: Document) -> bool:
    return bool(f["verdict"] == "pass")


def _count(f: Document) -> int:
    return int(f["statistic"] or 0)


def _row(row: Document) -> str:
    """`source row 412 (train)`, and what was seen there."""
    note = f": {row['note']}" if row.get("note") else ""
    return f"source row {row['row']} ({row['split']}){note}"


def _some(rows: Sequence[Document], count: int) -> str:
    """`source row 4 (train): it reads 'Ã©', source row 9 (test) and 12 more`."""
    shown = [_row(row) for row in rows[:SHOWN]]
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _payloads(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if not n:
        return f"Every {e['noun']} of {counted(e['looked_at'], 'row')} can be used.", ""
    lacking = f"the row has no {e['noun']}"
    what = "; ".join(_row({**row, "note": row.get("note") or lacking}) for row in e["rows"][:SHOWN])
    what += f"; and {n - SHOWN} more." if n > SHOWN else ""
    action = "Look at quarantine.parquet and mend these rows at their source."
    return f"{of(n, e['looked_at'], 'row')} can't be used: {what}", action


def _leak(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    failed, aside = f["verdict"] == "fail", e["put_aside"]
    reason = f"{of(n, e['test_rows'], 'test row')} {does(n, 'stands', 'stand')} in other splits too"
    reason += f", more than the share of {e['share']:g} allowed; " if failed else "; " if aside else "."
    if aside:
        reason += f"{counted(aside, 'row')} equal to a row of test or validation "
        reason += f"{does(aside, 'was', 'were')} taken out of train and validation, none out of test."
    if failed:
        return reason, (
            "Split the source again, so that test rows are new, or let headstart split it: name no splits. "
            "checks.leaked_share in params.yaml is the share allowed."
        )
    if aside:
        return reason, (
            "What is measured here is sound; what others measured on these splits as they came counts remembered "
            "rows. Split the source again where you can, so that test rows are new."
        )
    return reason, ""


def _label_conflicts(f: Document) -> Words:
    n = _count(f)
    if not n:
        return "Equal rows have equal labels.", ""
    aside = f["evidence"]["put_aside"]
    kept = n - aside
    reason = (
        f"{counted(n, 'row')} {does(n, 'equals', 'equal')} another row of the split with a different label; "
        f"{aside:,} {does(aside, 'was', 'were')} put aside"
    )
    reason += f", {kept:,} of test {does(kept, 'was', 'were')} kept." if kept else "."
    return reason, "Decide which label is right and mend the source."


def _duplicates(f: Document) -> Words:
    n = _count(f)
    if not n:
        return "No row repeats another of its split.", ""
    aside = f["evidence"]["put_aside"]
    kept = n - aside
    reason = f"{counted(n, 'row')} {does(n, 'repeats', 'repeat')} an earlier row of the split; "
    reason += f"{aside:,} {does(aside, 'was', 'were')} put aside"
    return reason + (
        f", {kept:,} of the source's own test split {does(kept, 'was', 'were')} kept." if kept else "."
    ), ""


def _untrained_labels(f: Document) -> Words:
    n = _count(f)
    if not n:
        return "Every label of validation and test stands in train.", ""
    return (
        f"{counted(n, 'row')} of validation and test {does(n, 'has a label', 'have labels')} that train lacks: "
        f"{', '.join(f['evidence']['labels'])}.",
        "Add training rows for these labels, or map them under prepare.labels in params.yaml.",
    )


_WIDER = "Label more rows of these classes, or map them to a wider one under prepare.labels."


def _rare_labels(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if not n:
        return f"Each of {e['classes']} classes has at least {e['needed']} training rows.", ""
    what = ", ".join(
        f"{name} ({count['train']} in train, {count['test']} in test)" for name, count in e["counts"].items()
    )
    reason = f"{of(n, e['classes'], 'class')} {does(n, 'has', 'have')} fewer than {e['needed']} training rows: {what}."
    return reason, _WIDER


def _unjudged_classes(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if not n:
        return f"Each of {e['classes']} classes has a validation row and at least {e['needed']} test rows.", ""
    what = ", ".join(
        f"{name} ({count['train']}/{count['validation']}/{count['test']})" for name, count in e["counts"].items()
    )
    more = f" and {n - NAMED} more" if n > NAMED else ""
    return (
        f"{of(n, e['classes'], 'class')} {does(n, 'has', 'have')} no validation row or fewer than {e['needed']} test "
        f"rows (train/validation/test): {what}{more}. So few test rows say nothing: four right answers of four do not "
        "show that half of a class is found.",
        _WIDER,
    )


def _imbalance(f: Document) -> Words:
    large, small = f["evidence"]["largest"], f["evidence"]["smallest"]
    reason = (
        f"The largest class {large['label']!r} has {large['rows']:,} training rows, the smallest {small['label']!r} "
        f"{small['rows']:,}: {f['statistic']:.1f} to 1."
    )
    action = "Judge by macro-F1 rather than accuracy, and label more rows of the small classes."
    return reason, "" if _passed(f) else action


def _groups(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if n:
        return (
            f"{of(n, e['known'], 'group')} {does(n, 'stands', 'stand')} in more than one split of the source: "
            f"{', '.join(e['groups'][:5])}.",
            "Split the source by group: measured accuracy is too good where a group is on both sides.",
        )
    return f"Each of {e['known']} groups stands in one split." if e["known"] else "The source names no groups.", ""


def _class_shares(f: Document) -> Words:
    e = f["evidence"]
    worst = e["worst"]
    apart = f"{f['statistic']:.1%} of all rows"
    if _passed(f):
        return (
            f"Classes come in about the same shares in train, validation and test: {worst} is {apart} apart from "
            "train.",
            "",
        )
    moved = ", ".join(
        f"{one['label']!r} makes up {one['share']:.1%} of {worst} and {one['train']:.1%} of train" for one in e["moved"]
    )
    return (
        f"Classes come in other shares in {' and '.join(e['differing'])} than in train: {moved} ({apart} apart, "
        f"p = {e[worst]['p_value']:.2g}).",
        "Calibration and metrics are those of the shares in validation and test. Where production sees others, say "
        "which: data.expected_shares in params.yaml.",
    )


def _expected_shares(f: Document) -> Words:
    e = f["evidence"]
    if f["verdict"] == "fail":
        return (
            f"data.expected_shares names {e['unknown']!r}, which is not one of the {e['classes']} classes.",
            "Mend data.expected_shares in params.yaml; a class that is left out is not expected to come.",
        )
    missing = ", ".join(map(repr, e["missing"][:SHOWN]))
    lacking = f"; {missing} should come and has no test row" if missing else ""
    return (
        f"data.expected_shares is {e['distance']:.1%} of all rows apart from the test split; "
        f"{counted(e['rows'], 'row')} of {e['of']:,} can be chosen in which classes come in these shares, and metrics "
        f"and gates are of those{lacking}.",
        "Label rows of these classes for the test split." if missing else "",
    )


def _metadata_shortcut(f: Document) -> Words:
    e = f["evidence"]
    if _passed(f):
        looked = ", ".join(map(_measure, e["looked_at"])) or "none of them is there"
        return f"Neither ids, groups nor times predict the label ({looked}).", ""
    said = [
        f"{_measure(one['column'])} {one['value']!r} stands on {one['covered']:.0%} of {one['label']!r} and hardly "
        "elsewhere"
        if "value" in one
        else f"{_measure(one['column'])} alone predicts {one['accuracy']:.1%} (at least {one['low']:.1%})"
        for one in e["found"]
    ]
    return (
        f"Labels of unseen training rows can be told without the input: {'; '.join(said)}; the largest class has "
        f"{f['bar']:.1%}.",
        "Classes were collected differently. Check that the inputs do not carry the same mark (see the shortcut "
        "findings), and collect each class in the same way.",
    )


def _measure(name: str) -> str:
    """What may give a label away, in words; documents up to version 0.1 hold these."""
    return MEASURES.get(name, name)


def _carved_splits(f: Document) -> Words:
    e = f["evidence"]
    came = [f"{name} {e['came'][name]:.1%} where {e['asked'][name]:.1%} was asked for" for name in e["asked"]]
    by = " of their groups" if e["grouped"] else ""
    return f"Dealt by a hash{by}, {e['dealt']:,} rows came to {', '.join(came)}.", ""


def _time_order(f: Document) -> Words:
    e = f["evidence"]
    if f["statistic"] is None:
        return "The rows have no times to be compared.", ""
    if _passed(f):
        return f"Every training row with a time is no later than the first test row ({e['first']}).", ""
    return (
        f"{_count(f)} of {e['timed']} training rows with a time ({e['share']:.0%}) are later than the first test row "
        f"({e['first']}): production will be later than all of them, so expect less than the test set promises.",
        "Split by time: a `split` column in which test is the latest part.",
    )


def _train_like_test(f: Document) -> Words:
    e = f["evidence"]
    if f["statistic"] is None:
        return (
            f"{e['train_rows']} rows of train and {e['test_rows']} of test are too few to tell whether they look "
            "alike.",
            "",
        )
    units = "groups of rows" if e["grouped"] else "rows"
    reason = (
        f"Told apart by what the backbone sees, inputs of train and test are recognised in {f['statistic']:.1%} of "
        f"unseen cases (half is chance; {e['units'][0]} and {e['units'][1]} {units}, p = {e['p']:.2g}): "
    )
    if _passed(f):
        return f"{reason}they look alike.", ""
    return (
        f"{reason}test asks something else than train teaches.",
        "Find out how test was drawn: another time, place or device? Accuracy there says little about train, and "
        "adapting to test-like inputs may pay.",
    )


_TEXT_FAULTS = {
    "mojibake": (
        "were decoded with the wrong encoding",
        "Read the source again with the right encoding (mostly UTF-8), or mend it with ftfy.fix_encoding.",
    ),
    "control_characters": (
        "hold characters that nobody sees and every tokenizer does",
        "Take them out at the source, and before prediction alike; a replacement character is a lost letter; U+0080 to "
        "U+009F are mostly letters read with the wrong encoding: read the source again first.",
    ),
    "markup": (
        "hold HTML tags or entities",
        "Turn them into plain text at the source if requests come as plain text, else leave them.",
    ),
}
_IMAGE_FAULTS = {
    "truncated_images": (
        "are cut off: the file ends too early, or a grey field fills its lower part",
        "Copy these files again from where they came.",
    ),
    "animated": (
        "hold several pictures, which the contract refuses",
        "Save the frame you mean as a picture of its own.",
    ),
    "constant_images": (
        "show nothing: no two grey levels more than {contrast} apart but for noise",
        "Take them out, unless an empty picture is what a label means.",
    ),
}


def _fault(faults: Mapping[str, Words], noun: str) -> Callable[[Document], Words]:
    """Of a fault that an input has or has not."""

    def words(f: Document) -> Words:
        e, n = f["evidence"], _count(f)
        what, action = faults[f["check"]]
        what = what.format(contrast=e.get("contrast"))
        if not n:
            return f"None of {e['looked_at']:,} {noun}s {what}.", ""
        return f"{of(n, e['looked_at'], noun)} {what}: {_some(e['rows'], n)}.", action

    return words


def _lengths(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    usual = f"{e['median']:,} characters in the middle"
    if not n:
        return f"No text of {e['looked_at']:,} has an absurd length: {usual}.", ""
    over = float("inf") if e["longer_than"] is None else e["longer_than"]
    return (
        f"Absurd lengths, of which sound sets like it have none: {of(e['short'], e['looked_at'], 'text')} under "
        f"{e['shorter_than'] or 0:,.0f} characters, {e['long']:,} over {over:,.0f}, with {usual}: "
        f"{_some(e['rows'], n)}.",
        "Look whether these rows are whole, and whether several were joined into one (an unclosed quote in a CSV).",
    )


def _scripts(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    shares = ", ".join(f"{name.capitalize()} {100 * share:.1f}%" for name, share in _largest(e["shares"])[:6])
    if not n:
        return f"Texts by script: {shares}." if shares else "No text has letters enough to tell its script.", ""
    return (
        f"{of(n, e['looked_at'], 'text')} are in a script that is rare in this set ({shares}): {_some(e['rows'], n)}.",
        "Keep them only if requests in these scripts will come, and the backbone has seen them.",
    )


def _largest(counts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Largest first; JSON documents are sorted by name."""
    return sorted(counts.items(), key=lambda item: -item[1])


def _truncation(f: Document) -> Words:
    e = f["evidence"]
    share, better = e["share"], e["proposal"]
    reason = (
        f"{of(_count(f), e['looked_at'], 'text')} looked at ({e['kept']:,} rows in all) have more than {e['limit']} "
        f"tokens and lose their end: {share['value']:.1%}, at least {share['low']:.1%}; the bar is {e['allowed']:.1%}."
    )
    if _passed(f):
        return reason, ""
    if better is None:
        return reason, (
            "The backbone takes no more: shorten texts to what their label hangs on, or take one that reads more."
        )
    return reason, f"If the end matters for the label: {longer_limit(better)}."


def longer_limit(proposal: Document) -> str:
    """What a higher limit of tokens would do, from the fields of `checks.truncation.Proposal`."""
    return (
        f"prepare.limits.tokens: {proposal['tokens']} would cut {proposal['cut_then']:.1%} of the texts instead of "
        f"{proposal['cut_now']:.1%}, at {proposal['work']:.1f} times the tokens to compute, and attention grows faster"
    )


_PHONES = (
    "Phone numbers are counted in international form (+44 ...) and in North American groups (212-555-0100), 10 or 11 "
    "digits that begin with a single 0 as national ones; ten bare digits are not counted."
)


def _personal_data(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if not n:
        return f"No e-mail address, phone number or card number in {e['looked_at']:,} texts. {_PHONES}", ""
    kinds = "; ".join(
        f"{quarantine.KINDS.get(one['kind'], one['kind'])} in {one['count']:,}: {_some(one['rows'], one['count'])}"
        for one in e["kinds"]
        if one["count"]
    )
    return (
        f"{of(n, e['looked_at'], 'text')} seem to hold personal data; {kinds}.{f' {_PHONES}' if e['phones'] else ''}",
        "Take it out or mask it at the source unless you may keep it: models, reports and journals copy what they are "
        "given. checks.put_aside in params.yaml can name personal_data.",
    )


def _near_bar(e: Document) -> str:
    if e["noun"] == "text":
        return f"{e['similarity']:.0%} of their phrases of three words, or of four characters, in common"
    return (
        f"also turned or mirrored, at most {e['bits'][0]} of {e['bits'][1]} bits of their perceptual hashes differ, "
        "and their thumbnails agree"
    )


def _compared(e: Document) -> str:
    told = f"{e['looked_at']:,} different {e['noun']}s of {e['kept']:,} rows were compared"
    return told + (", drawn at random: a pair shows only if both were drawn" if e["drawn"] else "")


def _pairs(e: Document) -> str:
    return ", ".join(
        f"{quarantine.row(pair['row'])} and {quarantine.row(pair['twin'])}" + (f" {pair['how']}" if pair["how"] else "")
        for pair in e["pairs"][:SHOWN]
    )


def _near_leak(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    bar = _near_bar(e)
    if not n:
        return (
            f"No {e['noun']} of train or validation is nearly equal to one it is judged by ({bar}); {_compared(e)}.",
            "",
        )
    held = e["held"]
    too_good = (
        "Measured accuracy is too good by what is remembered"
        if held["test"]
        else "The test split is not touched; what is chosen and calibrated on validation trusts what is remembered"
    )
    others = " and ".join(counted(held[split], f"{split} row") for split in ("test", "validation") if held[split])
    return (
        f"{counted(n, 'row')} of train and validation {does(n, 'is', 'are')} nearly equal ({bar}) to {others}, such as "
        f"{_pairs(e)}; {_compared(e)}.",
        f"{too_good}: let checks.put_aside in params.yaml name near_leak, or split the source by what these rows share "
        "(a group).",
    )


def _near_duplicates(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    bar = _near_bar(e)
    if not n:
        return f"No {e['noun']} is nearly equal to another of its split ({bar}); {_compared(e)}.", ""
    reason = f"{of(n, e['looked_at'], e['noun'])} {does(n, 'is', 'are')} nearly equal to an earlier one of the split "
    reason += f"({bar})"
    actions = []
    if e["other_label"]:
        reason += f", {e['other_label']:,} of them with a different label"
        actions.append("Decide which label is right, unless the few characters that differ are what it hangs on.")
    if e["other_group"]:
        reason += f", {e['other_group']:,} of them in a different group"
        actions.append("Groups that share pictures or texts are one group: join them at the source.")
    if e["often"]:
        actions.append("Rows count for less than they seem to: near_duplicates in checks.put_aside leaves one each.")
    return f"{reason}: {_pairs(e)}; {_compared(e)}.", " ".join(actions)


def _too_few(e: Document) -> str:
    return f"{e['looked_at']:,} training rows that could show it are too few to tell."


def _length_shortcut(f: Document) -> Words:
    e = f["evidence"]
    if "best" not in e:
        return _too_few(e), ""
    bar, best = f["bar"], e["measures"][e["best"]]
    name = _measure(e["best"])
    reason = (
        f"From {name} alone {best['accuracy']['value']:.1%} of {e['looked_at']:,} training rows get their label (at "
        f"least {best['accuracy']['low']:.1%}), from guessing the commonest {best['chance']:.1%}; the bar lies at "
        f"{best['chance'] + bar * (1 - best['chance']):.1%}."
    )
    if e["tells"]:
        label, covered = e["tells"]["label"], e["tells"]["covered"]
        reason += f" {label!r} is told from all others by it, {covered:.0%} of its rows or more."
    if _passed(f):
        return reason, ""
    return reason, (
        f"Look why {name} differs by label: another source, camera, crop or template for one of them is learned "
        "instead of the content, and will not be there in production."
    )


def _token_shortcut(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if "tokens" not in e:
        return _too_few(e), ""
    if not n:
        return f"No single token gives a label away in {e['looked_at']:,} training rows.", ""
    tokens = ", ".join(
        f"{one['token']!r} stands in {one['covered']:.0%} of the rows of {one['label']!r}, and of rows it stands in at "
        f"least {one['precision']['low']:.0%} have that label"
        for one in e["tokens"][:SHOWN]
    )
    return (
        f"{n} tokens give a label away on their own in {e['looked_at']:,} training rows: {tokens}.",
        "If the token is no part of the meaning (a source's mark, an id, boilerplate), take it out of these rows: the "
        "model would learn it and nothing else.",
    )


def _watermark(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if "marks" not in e:
        return _too_few(e), ""
    rim = e["rim"]
    frame = (
        f" The rim of nearly all images, whatever their label, has one grey level, about {rim} of 255."
        if rim is not None
        else ""
    )
    if not n:
        return f"No class of {e['looked_at']:,} training images has a mark of its own.{frame}", ""
    marks = ", ".join(
        f"{one['share']:.0%} of {one['label']!r} and {one['elsewhere']:.1%} of the others have the same grey at the "
        f"{one['where']} ({one['points']} of {e['thumbnail']} points, p = {one['p_value']:.1g})"
        for one in e["marks"][:SHOWN]
    )
    return (
        f"A mark gives {n} labels away in {e['looked_at']:,} training images: {marks}.{frame}",
        "Look at a few of these images. If it is a logo, a stamp or a border, crop or cover it in all images, or take "
        "images of this class from elsewhere: the model would learn the mark.",
    )


def _sizes(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if not e["looked_at"]:
        return "No image could be read.", ""
    kinds = (("tiny", "tiny"), ("huge", "huge"), ("long", "far longer one way than the other"))
    odd = ", ".join(f"{e[key]:,} are {what}" for key, what in kinds if e[key])
    reason = f"With {e['width']:.0f} x {e['height']:.0f} pixels in the middle of {e['looked_at']:,} images, "
    reason += f"{odd}: {_some(e['rows'], n)}." if odd else "none is tiny, huge or long against the rest."
    actions = ["Look whether these are whole pictures or icons, banners and scans."] if odd else []
    if e["stretched"]:
        width, height = e["model"]
        reason += f" The model looks at {width} x {height}: most of what it sees is made up by enlarging."
        actions.append("Choose a backbone for smaller pictures, or get the pictures at their full size.")
    return reason, " ".join(actions)


_LOSSY = {
    "CMYK": "print colours, converted without their colour profile",
    "LAB": "converted without their colour profile",
    "YCbCr": "converted",
    "HSV": "converted",
    "I;16": "16 bits, of which the high 8 are kept",
    "I;16B": "16 bits, of which the high 8 are kept",
    "I;16L": "16 bits, of which the high 8 are kept",
    "I": "32 bits of no stated range, refused",
    "F": "32 bits of no stated range, refused",
}


def _modes(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    modes = ", ".join(f"{name} {count:,}" for name, count in _largest(e["modes"]))
    losses = [f"{count:,} {name}: {_LOSSY[name]}" for name, count in _largest(e["modes"]) if name in _LOSSY]
    losses += [f"{e['see_through']:,} see-through: laid over white"] if e["see_through"] else []
    losses += [f"{e['coloured']:,} lose their colours"] if e["to"] == "L" and e["coloured"] else []
    reason = f"Of {e['looked_at']:,} images by mode ({modes}), all become {e['to']}"
    reason += f"; {'; '.join(losses)}" if losses else ""
    reason += f": {_some(e['rows'], n)}." if n else "."
    if not n:
        return reason, ""
    return reason, "Convert them at the source if that is not what they should look like; requests are treated alike."


def _rotated(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if not n:
        return f"None of {e['looked_at']:,} images is stored turned.", ""
    return (
        f"{of(n, e['looked_at'], 'image')} are stored turned or mirrored, with a note in EXIF; the contract turns them "
        f"upright, in requests too: {_some(e['rows'], n)}.",
        "",
    )


def _label_errors(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    if not n:
        return f"No label of {e['looked_at']} training rows looked at is plainly at odds with the input.", ""
    first = "; ".join(_suspect(row) for row in e["rows"][:SHOWN])
    return (
        f"{n} of {e['looked_at']} training rows looked at have a label that may be wrong (a probe on the backbone's "
        f"features, right on {e['right']:.1%} of rows it had not seen): {first}.",
        "Look at these rows and mend the labels at their source. All of them, the likeliest errors first, with what "
        f"they hold and where they stand: {e['file']}; the first also on the page.",
    )


_QUOTED = 80  # characters of a suspect's text in a sentence


def _suspect(row: Document) -> str:
    text = " ".join(row.get("text", "").split())
    quoted = f" ({text if len(text) <= _QUOTED else text[: _QUOTED - 1].rstrip() + '…'})" if text else ""
    return f"source row {row['row']} ({row['split']}){quoted} is {row['label']!r}, and {row['suggested']!r} fits better"


def _contract_agreement(f: Document) -> Words:
    e = f["evidence"]
    worst = e["worst"]
    if shapes := e["shapes"]:
        ours, theirs = (tuple(shape) for shape in shapes)
        reason = f"input {worst} becomes {ours} here and {theirs} by the backbone's own processor"
    else:
        reason = (
            f"over {e['inputs']} inputs, values differ from the backbone's own processor by at most "
            f"{f['statistic']:.3g} (allowed: {f['bar']:.3g})"
        )
    if _passed(f):
        return f"{reason}.", ""
    reason += f"; {e['count']} of {e['inputs']} inputs differ."
    if f["verdict"] == "unsure":
        return reason, (
            f"Look at input {worst} of train. Training, evaluation and serving all prepare it as the contract does, so "
            "nothing has to be done unless many requests will be like it."
        )
    what = "sizes, crop or special tokens differ" if shapes else f"look at input {worst}"
    return reason, f"Compare contract.json with the backbone's processor files: {what}."


def _token_limit(f: Document) -> Words:
    most, asked = int(f["statistic"]), int(f["bar"])
    return (
        f"prepare.limits.tokens is {asked}, and the backbone takes {most} at most: longer texts are cut there.",
        f"Set prepare.limits.tokens to {most}, or take a backbone that reads longer texts.",
    )


_CALM = "Lower fine_tune.learning_rate and fine_tune.head_learning_rate, or set plan.strategy to linear_probe."


def _kept(f: Document) -> str:
    return "The linear probe" if f["evidence"]["model"] == "probe" else "The trained network"


def _nonfinite(f: Document) -> Words:
    e = f["evidence"]
    if e["missing"]:
        return f"{_kept(f)} has no finite validation {' and no finite validation '.join(e['missing'])}.", _CALM
    if _passed(f):
        return f"{_kept(f)} and its {e['steps']} training steps have finite losses and gradients.", ""
    return (
        f"{_count(f)} of {e['steps']} training steps had a loss or a gradient that is not a number, the first at step "
        f"{e['first']}.",
        f"{_CALM} With fine_tune.precision bfloat16, try float32.",
    )


def _diverged(f: Document) -> Words:
    e = f["evidence"]
    if f["statistic"] is None:
        return (
            f"Whether training diverged can't be told: {_kept(f)} lacks a validation loss at its start or end.",
            _CALM,
        )
    loss = f"validation loss went from {e['start']:.3f} to {e['loss']:.3f}, {f['statistic']:.2f} times its start"
    if _passed(f):
        return f"{_kept(f)}: {loss}; up to {f['bar']:g} is allowed.", ""
    return f"Training diverged: {loss}; {f['bar']:g} is allowed.", _CALM


def _above_majority(f: Document) -> Words:
    e, value = f["evidence"], f["statistic"]
    if value is None:
        name = "macro-F1" if e["by_class"] else "accuracy"
        return f"{_kept(f)} has no finite validation {name} to hold against {f['bar']:.3f}.", _CALM
    if e["by_class"]:
        reason = f"{_kept(f)} has macro-F1 {value:.3f} on validation; always giving the commonest class has "
        reason += f"{e['commonest']:.3f} (training counted every class alike, so accuracy is not asked for)"
    else:
        reason = f"{_kept(f)} is right on {value:.3f} of validation; always giving the commonest class on "
        reason += f"{e['commonest']:.3f}"
    if _passed(f):
        return f"{reason}.", ""
    action = "Look at the labels (headstart data), add examples, or take a backbone nearer to your data."
    if not e["by_class"]:
        action += (
            " Where a rare class matters more than accuracy, set class_weights: balanced under probe and fine_tune: "
            "macro-F1 is asked for then."
        )
    return f"{reason}: nothing useful was learned.", action


def _ids(f: Document) -> Words:
    if not _count(f):
        return "No id stands on more than one row.", ""
    return (
        f"{_count(f)} ids stand on more than one row; they were told apart by split and count.",
        "Give each row its own id, so that answers can be traced.",
    )


def _sources(f: Document) -> Words:
    e = f["evidence"]
    kind = dict.fromkeys(e["unlabelled"], " without labels")
    each = ", ".join(f"{count:,} from {name}{kind.get(name, '')}" for name, count in e["rows"].items())
    total = counted(sum(e["rows"].values()), "row")
    return f"{total} of {counted(_count(f), 'source')}: {each}.", ""


def _files(f: Document) -> Words:
    n, names = _count(f), f["evidence"]["files"]
    if not n:
        return "Every file was read.", ""
    return (
        f"{counted(n, 'file')} in class folders, of no image, passed over: {', '.join(names)}.",
        "Remove them, or convert them to PNG or JPEG.",
    )


def _unlabelled(f: Document) -> Words:
    e = f["evidence"]
    kept, refused, held_out = e["kept"], e["refused"], e["equal_a_judge"]
    came = f"{kept} of {kept + refused + held_out} rows without a label"
    few = f"{came} are left, too few to adapt a backbone to, which takes {e['least']}"
    parts = [few if kept < e["least"] else f"{came} can be adapted to"]
    action = "" if kept else "Name another source under data.unlabelled in params.yaml, or none."
    if held_out:
        parts.append(f"{held_out} equal a validation or test row and are left out")
    if refused:
        lacking = f"the row has no {e['modality']}"
        what = "; ".join(f"row {row['row']}: {row['reason'].rstrip('.') or lacking}" for row in e["rows"][:SHOWN])
        parts.append(f"{refused} can't be used: {what}" + ("; and others" if refused > SHOWN else ""))
        action = action or f"Mend these {e['modality']}s at their source; the others are used."
    return f"{'; '.join(parts)}.", action


def _batching(f: Document) -> Words:
    gap, allowed = f["statistic"], f["bar"]
    return f"Features of an input alone and in a batch differ by {gap:.1e} at most ({allowed:.1e} is allowed).", ""


def _pretraining(f: Document) -> Words:
    return (
        f"Of the glyphs drawn in the last epoch, none seen before, {f['statistic']:.3f} were read right; chance is "
        f"{f['bar']:.3f}.",
        "" if _passed(f) else "Nothing was learned: raise epochs or glyphs_per_class.",
    )


def _layers(f: Document) -> Words:
    kind, count = f["evidence"]["kind"], _count(f)
    if _passed(f):
        return f"{kind} has {count} layer groups below the head.", ""
    return (
        f"{kind} is not an architecture whose layers are known; its module tree gives {count} groups.",
        "Look at the learning rates by layer in the report before you trust a fine-tune of it.",
    )


def _reference(f: Document) -> Words:
    classes = f["evidence"]["classes"]
    kinds = counted(classes, "class") if classes else "no classes"
    return f"{counted(_count(f), 'example')} of its own domain are kept beside it, of {kinds}.", ""


def _weights(f: Document) -> Words:
    e, n = f["evidence"], _count(f)
    parts = [f"{e['kept']} weights of its masked-language head are kept beside it."] if e["kept"] else []
    if n:
        some = ", ".join(e["left_out"]) + (" and others" if n > len(e["left_out"]) else "")
        parts.append(f"{n} weights are no part of the backbone and were left out: {some}.")
    return " ".join(parts) or "Every weight in the file belongs to the backbone.", ""


def _processor(f: Document) -> Words:
    e = f["evidence"]
    if _passed(f):
        return f"The backbone brought its own {e['file']}.", ""
    return (
        f"The backbone brought no {e['file']}; the default of {e['kind']} is used: size {e['size']}, mean {e['mean']}, "
        f"std {e['std']}.",
        "If it was pretrained on pixels prepared otherwise, put its processor file beside config.json.",
    )


WORDS: dict[str, Callable[[Document], Words]] = {
    "ids": _ids,
    "sources": _sources,
    "files": _files,
    "labels": label_words.finding,
    "unlabelled": _unlabelled,
    "payloads": _payloads,
    "leak": _leak,
    "label_conflicts": _label_conflicts,
    "duplicates": _duplicates,
    "untrained_labels": _untrained_labels,
    "rare_labels": _rare_labels,
    "unjudged_classes": _unjudged_classes,
    "imbalance": _imbalance,
    "groups": _groups,
    "class_shares": _class_shares,
    "expected_shares": _expected_shares,
    "metadata_shortcut": _metadata_shortcut,
    "carved_splits": _carved_splits,
    "time_order": _time_order,
    "train_like_test": _train_like_test,
    **dict.fromkeys(_TEXT_FAULTS, _fault(_TEXT_FAULTS, "text")),
    **dict.fromkeys(_IMAGE_FAULTS, _fault(_IMAGE_FAULTS, "image")),
    "lengths": _lengths,
    "scripts": _scripts,
    "truncation": _truncation,
    "personal_data": _personal_data,
    "near_leak": _near_leak,
    "near_duplicates": _near_duplicates,
    "length_shortcut": _length_shortcut,
    "token_shortcut": _token_shortcut,
    "watermark": _watermark,
    "sizes": _sizes,
    "modes": _modes,
    "rotated": _rotated,
    "label_errors": _label_errors,
    "contract_agreement": _contract_agreement,
    "token_limit": _token_limit,
    "batching": _batching,
    "pretraining": _pretraining,
    "layers": _layers,
    "reference": _reference,
    "weights": _weights,
    "processor": _processor,
    "nonfinite": _nonfinite,
    "diverged": _diverged,
    "above_majority": _above_majority,
}
