"""Print as JSON what a Python learns from its host: ``python3 host_answers.py SUBJECT``.

Tests compare the answers of a payload with those of the host's own Python. This file needs the
standard library of CPython 3.9 and newer only.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

# One for each kind of encoding: one byte, two bytes, UTF-8; and the Turkish rule for i.
LOCALES = ("C", "C.UTF-8", "de_DE.UTF-8", "de_DE.ISO-8859-1", "ja_JP.EUC-JP", "tr_TR.UTF-8")
TERMS = (
    *("xterm", "xterm-256color", "screen", "screen-256color", "tmux-256color", "linux", "vt100"),
    *("rxvt-unicode-256color", "ansi", "dumb"),
)
WORDS = (
    "zebra",
    "Apfel",
    "\u00e4pfel",
    "Stra\u00dfe",
    "strasse",
    "\u0131l\u0131k",
    "ilk",
    "\u3042",
    "\u30a2",
)
# A day with long names in all languages.
DAY = time.struct_time((2026, 3, 7, 14, 5, 9, 5, 66, 0))

IN_LOCALE = """\
import codecs, json, locale, os, sys, time
name, words, day = json.loads(sys.argv[1])
said = {"streams": sys.stdout.encoding, "files": sys.getfilesystemencoding()}
said["at start"] = [sys.flags.utf8_mode, locale.setlocale(locale.LC_CTYPE)]
said["set"] = locale.setlocale(locale.LC_ALL, name)
preferred = codecs.lookup(locale.getpreferredencoding(False)).name
said["encoding"] = [locale.nl_langinfo(locale.CODESET), preferred]
said["conventions"] = locale.localeconv()
said["numbers"] = [locale.format_string("%.2f", 1234567.891, grouping=True), f"{1234567:n}"]
said["read"] = locale.atof(said["numbers"][0])
said["sorted"] = sorted(words, key=locale.strxfrm)
said["compared"] = [locale.strcoll(a, b) > 0 for a in words for b in words]
said["case"] = [change(word) for word in words for change in (str.upper, str.lower, str.title)]
day = time.struct_time(day)
said["dates"] = [time.strftime(form, day) for form in ("%A", "%B", "%x", "%X", "%c", "%p", "%EY")]
read = time.strptime(time.strftime("%d. %B %Y", day), "%d. %B %Y")
said["read date"] = read[:3]
said["error"] = os.strerror(2)
said["file names"] = ascii(os.listdir(".")), ascii(os.fsencode(os.listdir(".")[0]))
print(json.dumps(said))
"""
AT_TERMINAL = """\
import curses, json, os
curses.setupterm(fd=os.open(os.devnull, os.O_WRONLY))
numbers = {name: curses.tigetnum(name) for name in ("colors", "cols", "lines", "it", "pairs")}
flags = {name: curses.tigetflag(name) for name in ("am", "bce", "km", "xenl")}
names = "bold sgr0 setaf setab cup smcup rmcup civis kcuu1 khome kend kbs kdch1 el smkx".split()
strings = {name: ascii(curses.tigetstr(name)) for name in names}
strings["red"] = curses.tigetstr("setaf") and ascii(curses.tparm(curses.tigetstr("setaf"), 1))
print(json.dumps([numbers, flags, strings]))
"""
IN_WINDOW = """\
import json, tkinter, tkinter.font, tkinter.ttk
root = tkinter.Tk()
root.title("Gr\\u00f6\\u00dfe")
root.geometry("+10+20")
image = tkinter.PhotoImage(width=40, height=30)
image.put("#c01020", to=(0, 0, 40, 30))
font = tkinter.font.Font(family="DejaVu Sans", size=-20)
text = tkinter.Label(root, text="Stra\\u00dfe \\u0131 \\u03b1", font=font, background="white")
picture = tkinter.Label(root, image=image, background="white")
entry = tkinter.Entry(root, font=font)
button = tkinter.ttk.Button(root, text="OK")
for part in (text, picture, entry, button):
    part.pack()
root.update()
entry.focus_force()
entry.event_generate("<Key>", keysym="a")
root.clipboard_append("copied")
root.update()
said = {"typed": entry.get(), "copied": root.clipboard_get(), "screen": root.winfo_depth()}
said["sizes"] = [[part.winfo_width(), part.winfo_height()] for part in (text, picture, entry)]
said["mapped"] = [part.winfo_ismapped() for part in (root, text, picture, entry, button)]
said["font"] = [font.actual(), font.metrics(), font.measure("Stra\\u00dfe")]
said["families"] = sorted(set(tkinter.font.families()))
said["pixel"] = image.get(5, 5)
said["themes"] = sorted(tkinter.ttk.Style().theme_names())
print(json.dumps([said, text.winfo_rootx(), text.winfo_rooty(), text.winfo_width()]))
input()
"""


def main():
    json.dump(
        {"locales": locales, "terminals": terminals, "window": window}[sys.argv[1]](), sys.stdout
    )


def _python(code, *words, cwd="/", **environ):
    env = {"PATH": os.environ["PATH"], "HOME": "/root", **environ}
    argv = (sys.executable, "-c", code, *words)
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{environ}: {done.stderr.decode(errors='replace')}")
    return json.loads(done.stdout)


def locales():
    """Return what each locale changes."""
    found = {}
    for name in LOCALES:
        with tempfile.TemporaryDirectory() as folder:
            # The name of a file in UTF-8, which other encodings cannot read.
            open(os.fsencode(folder) + b"/\xc3\xa4", "w").close()
            words = json.dumps([name, WORDS, DAY])
            found[name] = _python(IN_LOCALE, words, cwd=folder, LC_ALL=name)
    return found


def terminals():
    """Return capabilities of each terminal. A process reads one description only."""
    return {term: _python(AT_TERMINAL, TERM=term) for term in TERMS}


def window():
    """Return sizes and texts of a window, and how many colors its text has on the screen."""
    with tempfile.TemporaryDirectory() as folder:
        read, write = os.pipe()
        options = ("-displayfd", str(write), "-nolisten", "tcp", "-screen", "0", "640x480x24")
        server = subprocess.Popen(
            ("Xvfb", *options, "-fbdir", folder), pass_fds=[write], stderr=subprocess.DEVNULL
        )
        os.close(write)
        env = {**os.environ, "DISPLAY": ":" + os.read(read, 20).decode().strip()}
        argv = (sys.executable, "-c", IN_WINDOW)
        shown = subprocess.Popen(argv, env=env, stdin=-1, stdout=-1, text=True)
        said, left, top, width = json.loads(shown.stdout.readline())
        with open(f"{folder}/Xvfb_screen0", "rb") as stream:
            said["colors"] = len(_colors(stream.read(), left, top + 12, width))
        shown.communicate("\n")
        server.terminate()
        server.wait()
    return said


def _colors(screen, left, row, width):
    """Return the colors of a row of pixels in a file of xwd (X11/XWDfile.h)."""
    header = [int.from_bytes(screen[at : at + 4], "big") for at in range(0, 100, 4)]
    start = header[0] + 12 * header[19] + row * header[12] + left * 4
    return {screen[at : at + 3] for at in range(start, start + 4 * width, 4)}


if __name__ == "__main__":
    main()
