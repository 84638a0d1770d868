"""Calls the shared C library as a language does that loads libraries at run time and declares structs by itself.

python loaded_check.py LIBRARY BUNDLE SIGNALS RULE      verdicts as JSON lines
"""

import sys
from ctypes import (
    CDLL,
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int64,
    c_size_t,
    c_uint,
    c_void_p,
    cast,
    create_string_buffer,
    sizeof,
)


class PartVerdict(Structure):
    _fields_ = [
        ("name", c_char_p), ("status", c_int), ("scored", c_bool), ("score", c_float), ("threshold", c_double),
        ("p_value", c_double), ("reason", c_char_p),
    ]  # fmt: skip


class Verdict(Structure):
    _fields_ = [
        ("status", c_int), ("rule", c_int), ("reasons", c_char_p * 22), ("scored", c_bool), ("score", c_float),
        ("threshold", c_double), ("p_value", c_double), ("first_alarm_step", c_int64), ("judged_steps", c_int64),
        ("ended", c_int), ("group", c_char_p), ("parts", POINTER(PartVerdict)), ("part_count", c_size_t),
        ("accepted", c_uint), ("schema", c_int), ("bundle", c_char * 65),
    ]  # fmt: skip


class Options(Structure):
    _fields_ = [
        ("rule", c_int), ("fingerprint", c_char_p), ("accept", c_void_p), ("accept_count", c_size_t),
        ("unverified", c_bool),
    ]  # fmt: skip


class File(Structure):
    _fields_ = [("name", c_char_p), ("bytes", c_void_p), ("size", c_size_t)]


class Error(Structure):
    _fields_ = [("text", c_char * 1024)]


def main(library, bundle, path, rule):
    sri = CDLL(library)
    for name in ("cells", "lengths", "groups"):
        getattr(sri, f"sri_signals_{name}").restype = c_void_p
    sri.sri_signals_count.restype = sri.sri_verdicts_count.restype = sri.sri_verdict_json.restype = c_size_t
    sri.sri_signals_id.restype = sri.sri_signals_fingerprint.restype = c_char_p
    sri.sri_verdicts_at.restype = POINTER(Verdict)
    own = [sizeof(one) for one in (Verdict, PartVerdict, Options, File, Error)]
    sizes = (c_size_t * 5)()
    sri.sri_struct_sizes(sizes)
    assert own == list(sizes), (own, list(sizes))
    guard, signals, verdicts, error = c_void_p(), c_void_p(), c_void_p(), Error()

    def done(refused):
        assert not refused, error.text.decode()

    done(sri.sri_guard_open(bundle.encode(), None, byref(guard), byref(error)))
    done(sri.sri_signals_read(guard, path.encode(), byref(signals), byref(error)))
    options = Options(
        {"final": 0, "online": 1, "request": 2}[rule], sri.sri_signals_fingerprint(signals), None, 0, False
    )
    count = sri.sri_signals_count(signals)
    rows = [c_void_p(getattr(sri, f"sri_signals_{name}")(signals)) for name in ("cells", "lengths", "groups")]
    done(sri.sri_guard_score(guard, *rows, c_size_t(count), byref(options), byref(verdicts), byref(error)))
    sri.sri_guard_close(guard)
    for row in range(count):
        verdict = sri.sri_verdicts_at(verdicts, c_size_t(row))
        names = [verdict.contents.parts[k].name.decode() for k in range(verdict.contents.part_count)]
        request_id = sri.sri_signals_id(signals, c_size_t(row))
        room = sri.sri_verdict_json(verdict, request_id, None, c_size_t(0)) + 1
        line = create_string_buffer(room)
        assert sri.sri_verdict_json(verdict, request_id, line, c_size_t(room)) == room - 1
        assert all(f'"name": "{name}"' in line.value.decode() for name in names)
        print(line.value.decode())
    sri.sri_verdicts_free(verdicts)
    sri.sri_signals_free(signals)
    assert cast(verdicts, c_void_p).value


if __name__ == "__main__":
    main(*sys.argv[1:])
