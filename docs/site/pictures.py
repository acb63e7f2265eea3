"""Draw the pictures of the documentation: `python -m docs.site.pictures`.

They are SVG, written by hand-made functions, so that no program and no font is needed. A test
compares the files with what this module draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "pictures"

INK, MUTED, PAPER = "#1f2933", "#616e7c", "#ffffff"
BLUE, GREEN, RED, AMBER = "#2563eb", "#15803d", "#b91c1c", "#b45309"
PALE = {BLUE: "#dbeafe", GREEN: "#dcfce7", RED: "#fee2e2", AMBER: "#fef3c7", INK: "#f1f5f9"}
SIZE = 13
"""Of the text, in pixels."""


def text(
    x: float, y: float, words: str, *, color: str = INK, anchor: str = "middle", size: int = SIZE
) -> str:
    """Write a line."""
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{color}" font-size="{size}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def box(x: float, y: float, width: float, height: float, *lines: str, color: str = INK) -> str:
    """Draw a box with lines of text; the first is the title."""
    parts = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
        f'fill="{PALE[color]}" stroke="{color}"/>'
    ]
    top = y + height / 2 - (len(lines) - 1) * 8 + 4
    for number, line in enumerate(lines):
        shade, size = (color, SIZE) if number == 0 else (MUTED, SIZE - 2)
        parts.append(text(x + width / 2, top + 16 * number, line, color=shade, size=size))
    return "".join(parts)


def arrow(
    x1: float, y1: float, x2: float, y2: float, *, color: str = INK, dashed: bool = False
) -> str:
    """Draw an arrow."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{color}" '
        f'stroke-width="1.6"{dash} marker-end="url(#{color.lstrip("#")})"/>'
    )


def picture(width: int, height: int, title: str, *parts: str) -> str:
    """Put parts into a picture."""
    heads = "".join(
        f'<marker id="{color.lstrip("#")}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="{color}"/></marker>'
        for color in (INK, BLUE, GREEN, RED, AMBER, MUTED)
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" role="img">\n'
        f"<title>{escape(title)}</title>\n<defs>{heads}</defs>\n"
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>\n{body}\n</svg>\n'
    )


def path_of_a_frame() -> str:
    """Draw the path of audio to the server, and of a turn event back."""
    audio = [
        ("Your bot", "Pipecat, LiveKit", "or asyncio"),
        ("Adapter", "encode, downmix"),
        ("Client", "send_audio()"),
        ("Replay buffer", "kept until its", "text is settled"),
        ("Pacer", "live: at once", "backlog: 2 x"),
        ("WebSocket", "frames, masks"),
    ]
    events = [
        ("Your bot", "frames or", "speech events"),
        ("Adapter", "turn events", "to frames"),
        ("Event queue", "one, in order"),
        ("Transcript", "one turn over", "many connections"),
        ("Decoder", "JSON to events"),
        ("WebSocket", "pings, close"),
    ]
    width, gap, left = 118, 22, 16
    parts: list[str] = []
    for row, (y, color, boxes) in enumerate(((44, BLUE, audio), (190, GREEN, events))):
        for number, lines in enumerate(boxes):
            x = left + number * (width + gap)
            parts.append(box(x, y, width, 66, *lines, color=color))
            if number and row == 0:
                parts.append(arrow(x - gap + 2, y + 33, x - 2, y + 33, color=color))
            elif number:
                parts.append(arrow(x - 2, y + 33, x - gap + 2, y + 33, color=color))
    server = left + len(audio) * (width + gap) + 14
    parts += [
        box(server, 44, 96, 212, "Ink server", "Cartesia's,", "or the local one", color=INK),
        arrow(server - 34, 77, server - 2, 77, color=BLUE),
        arrow(server - 2, 223, server - 34, 223, color=GREEN),
        text(left, 30, "A frame of audio", color=BLUE, anchor="start"),
        text(left, 176, "A turn event", color=GREEN, anchor="start"),
        arrow(
            left + 3.5 * width + 3 * gap,
            188,
            left + 3.5 * width + 3 * gap,
            112,
            color=MUTED,
            dashed=True,
        ),
        text(
            left + 3.5 * width + 3 * gap + 8,
            150,
            "settles audio",
            color=MUTED,
            anchor="start",
            size=11,
        ),
        text(
            left,
            282,
            "The framework's frames and events are made in the adapter; all else is one core.",
            color=MUTED,
            anchor="start",
            size=12,
        ),
    ]
    return picture(server + 112, 296, "The path of a frame of audio, and of a turn event", *parts)


def lost_connection() -> str:
    """Draw one turn that two connections hear."""
    left, scale = 150, 92  # pixels; pixels a second

    def at(second: float) -> float:
        return left + second * scale

    def lane(y: float, name: str) -> str:
        return text(left - 14, y + 5, name, anchor="end")

    def bar(start: float, end: float, y: float, words: str, color: str) -> str:
        return (
            f'<rect x="{at(start):g}" y="{y - 13:g}" width="{(end - start) * scale:g}" '
            f'height="26" rx="4" fill="{PALE[color]}" stroke="{color}"/>'
            + text(at((start + end) / 2), y + 5, words, color=color, size=12)
        )

    def events(y: float, *marks: tuple[float, str, str]) -> Iterator[str]:
        for second, words, color in marks:
            yield f'<circle cx="{at(second):g}" cy="{y:g}" r="4" fill="{color}"/>'
            yield text(at(second), y + 20, words, color=color, size=11)

    lost, back = 2.4, 2.9
    parts = [
        lane(50, "The user says"),
        bar(0.2, 4.6, 50, "I'd like a table for two on Friday evening", INK),
        lane(110, "Connection 1"),
        bar(0.0, lost, 110, "audio as it is spoken", BLUE),
        text(at(lost) + 6, 115, "lost", color=RED, anchor="start"),
        lane(160, "Replay buffer"),
        bar(1.3, back, 160, "kept audio", AMBER),
        lane(210, "Connection 2"),
        bar(back, 4.1, 210, "replay at 2 x", AMBER),
        bar(4.1, 6.4, 210, "audio as it is spoken", BLUE),
        arrow(at(back), 174, at(back) + 20, 196, color=AMBER),
        lane(272, "Your bot sees"),
        f'<line x1="{left}" y1="272" x2="{at(6.5):g}" y2="272" stroke="{MUTED}"/>',
        *events(
            272,
            (0.5, "turn.start", GREEN),
            (1.4, '"I\'d like"', GREEN),
            (2.0, '"... a table"', GREEN),
            (3.8, '"... for two"', GREEN),
            (4.8, '"... on Friday"', GREEN),
            (5.9, "turn.end", GREEN),
        ),
        f'<line x1="{at(lost):g}" y1="26" x2="{at(lost):g}" y2="300" stroke="{RED}" '
        'stroke-dasharray="4 4"/>',
        text(
            left,
            326,
            "One start, text that only grows, one end. The times are an example.",
            color=MUTED,
            anchor="start",
            size=12,
        ),
    ]
    return picture(780, 342, "One turn across a lost connection", *parts)


# What a collector received of one call of `tests/observe/telemetry/framework_app.py` in each
# framework on 2026-11-28: depth in the tree, second at which it began, length in seconds.
SPANS = {
    "Pipecat": (
        ("conversation", 0, 0.000, 4.940),
        ("turn", 1, 0.001, 4.936),
        ("stt", 2, 0.363, 2.691),
        ("speech_to_text ink-2", 2, 0.363, 2.683),
    ),
    "LiveKit": (
        ("agent_session", 0, 0.000, 5.589),
        ("user_turn", 1, 0.386, 2.307),
        ("user_speaking", 2, 0.386, 2.305),
        ("speech_to_text ink-2", 2, 0.386, 2.304),
        ("eou_wait", 2, 1.846, 0.846),
        ("agent_turn", 1, 1.191, 0.395),
        ("llm_node", 2, 1.193, 0.011),
        ("agent_turn", 1, 2.191, 0.509),
        ("llm_node", 2, 2.192, 0.014),
        ("tts_node", 2, 2.694, 0.005),
        ("agent_speaking", 2, 2.697, 0.002),
    ),
}


def spans_of_a_call() -> str:
    """Draw the spans of a call in both frameworks, with those of this package among them."""
    left, scale, line = 210, 92, 24
    parts: list[str] = []
    y = 28
    for framework, spans in SPANS.items():
        parts.append(text(12, y, framework, color=MUTED, anchor="start"))
        for name, depth, start, seconds in spans:
            y += line
            color = GREEN if name.startswith("speech_to_text") else BLUE
            width = max(2.0, seconds * scale)
            parts += [
                text(24 + 14 * depth, y + 4, name, color=color, anchor="start", size=12),
                f'<rect x="{left + start * scale:g}" y="{y - 8:g}" width="{width:g}" height="16" '
                f'rx="3" fill="{PALE[color]}" stroke="{color}"/>',
                text(
                    left + start * scale + width + 6,
                    y + 4,
                    f"{seconds:.3f} s",
                    color=MUTED,
                    anchor="start",
                    size=11,
                ),
            ]
        y += 2 * line
    return picture(800, y - line // 2, "The spans of one call in Pipecat and in LiveKit", *parts)


PICTURES = {
    "path-of-a-frame.svg": path_of_a_frame,
    "lost-connection.svg": lost_connection,
    "spans-of-a-call.svg": spans_of_a_call,
}


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), "utf-8")


if __name__ == "__main__":
    main()
