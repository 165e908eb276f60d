"""What of a file reaches the decoders."""

import io
import zlib

import pytest
from PIL import Image, ImageCms

from bot.pictures.containers import (
    PARTS_MAX,
    PROFILE_MAX,
    SCANS_MAX,
    DamagedError,
    TooManyPartsError,
    contents,
    other_format,
)
from tests.fixtures.pictures import (
    chunk,
    drawn,
    encoded,
    exif,
    flat_png,
    with_chunks,
    with_scans,
    with_segments,
)

PNG = encoded(drawn(), "PNG")
JPEG = encoded(drawn(), "JPEG")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_a_plain_file_is_left_as_it_is() -> None:
    for format_ in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "AVIF"):
        data = encoded(drawn(), format_)
        found = contents(data)
        assert found.data == data
        assert (found.exif, found.profile, found.gamma) == (b"", b"", None)


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"acTL", b"fdAT", b"prVt"])
def test_of_a_png_nothing_but_its_picture_is_kept(name: bytes) -> None:
    odd = with_chunks(PNG, chunk(name, b"parameters\0" + bytes(5000)))
    assert contents(odd).data == PNG


def test_a_pngs_profile_orientation_and_gamma_are_taken_out() -> None:
    with_exif = contents(with_chunks(PNG, chunk(b"eXIf", exif(6))))
    assert (with_exif.data, with_exif.exif) == (PNG, exif(6))
    packed = b"name\0\0" + zlib.compress(PROFILE)
    with_profile = contents(with_chunks(PNG, chunk(b"iCCP", packed)))
    assert (with_profile.data, with_profile.profile) == (PNG, PROFILE)
    gamma = chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    assert contents(with_chunks(PNG, gamma)).gamma == 1.0
    for better in (chunk(b"sRGB", b"\0"), chunk(b"iCCP", packed)):
        assert contents(with_chunks(PNG, gamma, better)).gamma is None


@pytest.mark.parametrize(
    "odd",
    [
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(PROFILE_MAX + 1))),
        chunk(b"iCCP", b"name\0\0no zlib"),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(PROFILE)[:-9]),
        chunk(b"iCCP", b""),
        chunk(b"eXIf", exif(6), crc=1),
        chunk(b"gAMA", b"\0\0"),
        chunk(b"tRNS", b"\0" * 300),
        chunk(b"tRNS", b"\0" * 6, crc=1),
        chunk(b"IHDR", b"\0\0\xff\xff" * 3 + b"\0"),
    ],
)
def test_what_is_optional_and_damaged_is_left_out(odd: bytes) -> None:
    found = contents(with_chunks(PNG, odd))
    assert (found.data, found.exif, found.profile, found.gamma) == (PNG, b"", b"", None)


def test_a_profile_is_unpacked_no_further_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    most, unpacking = [], zlib.decompressobj

    class Counting:
        eof = False

        def decompress(self, packed: bytes, length: int = 0) -> bytes:
            most.append(length)
            return unpacking().decompress(packed, length)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    bomb = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**25)))
    assert contents(with_chunks(PNG, bomb)).profile == b""
    assert most == [PROFILE_MAX + 1]


def test_transparency_of_the_right_length_is_kept() -> None:
    odd = with_chunks(PNG, chunk(b"tRNS", bytes(6)))
    assert contents(odd).data == odd


def test_what_is_critical_and_unknown_is_kept_for_the_decoder_to_refuse() -> None:
    odd = with_chunks(PNG, chunk(b"CgBI", bytes(4)))
    assert contents(odd).data == odd


def test_what_follows_the_picture_is_cut_off() -> None:
    assert contents(PNG + b"PK\3\4" + bytes(100)).data == PNG
    # a phone's film behind its photo, with what looks like scans
    assert contents(JPEG + b"\xff\xda\0\0" * 1000).data == JPEG


def test_a_file_that_is_cut_off_is_left_for_the_decoder() -> None:
    for length in (40, 60, len(PNG) - 20):
        assert PNG[: length - 8].startswith(contents(PNG[:length]).data[: length - 8])
    for length in (3, 4, 5, 200, 700, len(JPEG) - 9):
        found = contents(JPEG[:length]).data
        assert JPEG.startswith(found)
    with pytest.raises(DamagedError):
        contents(PNG[:20])


def test_of_a_jpeg_comments_thumbnails_and_all_that_is_not_its_picture_are_left_out() -> None:
    odd = with_segments(
        JPEG, (0xFE, b"a comment"), (0xED, b"Photoshop 3.0\0"), (0xE1, b"http://ns.adobe.com\0"),
        (0xE2, b"MPF\0II*\0"), (0xEF, bytes(60_000)),
    )  # fmt: skip
    assert contents(odd).data == JPEG


def test_a_jpegs_profile_and_orientation_are_taken_out() -> None:
    body = b"Exif\0\0" + exif(3)
    halves = (PROFILE[:100], PROFILE[100:])
    parts = [b"ICC_PROFILE\0" + bytes((n + 1, 2)) + half for n, half in enumerate(halves)]
    other = b"Exif\0\0" + exif(6)  # the first counts
    found = contents(
        with_segments(JPEG, (0xE2, parts[1]), (0xE1, body), (0xE2, parts[0]), (0xE1, other))
    )
    assert (found.data, found.exif, found.profile) == (JPEG, body, PROFILE)


def test_a_profile_of_many_mebibytes_is_left_out() -> None:
    part = bytes(65_000)
    parts = [(0xE2, b"ICC_PROFILE\0" + bytes((n, 255)) + part) for n in range(1, 100)]
    found = contents(with_segments(JPEG, *parts))
    assert (found.data, found.profile) == (JPEG, b"")


def test_a_jpeg_of_cmyk_keeps_what_says_how_its_inks_are_stored() -> None:
    data = encoded(drawn(mode="CMYK"), "JPEG")
    assert b"Adobe" in contents(data).data


def test_more_scans_than_any_encoder_makes_are_refused() -> None:
    assert contents(with_scans(64, 64, SCANS_MAX)).data.count(b"\xff\xda") == SCANS_MAX
    with pytest.raises(TooManyPartsError):
        contents(with_scans(64, 64, SCANS_MAX + 1))


@pytest.mark.parametrize(
    "data",
    [
        with_chunks(PNG, chunk(b"prVt", b"") * (PARTS_MAX + 1)),
        with_chunks(PNG, chunk(b"IDAT", b"") * (PARTS_MAX + 1)),
        with_segments(JPEG, *[(0xFE, b"")] * (PARTS_MAX + 1)),
    ],
    ids=["chunks", "empty IDAT", "segments"],
)
def test_more_parts_than_any_encoder_makes_are_refused(data: bytes) -> None:
    with pytest.raises(TooManyPartsError):
        contents(data)


def test_compressed_text_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(*_: object) -> None:
        raise AssertionError("it was unpacked")

    texts = [
        chunk(name, b"parameters\0\0" + zlib.compress(bytes(9))) for name in (b"zTXt", b"iTXt")
    ]
    monkeypatch.setattr(zlib, "decompressobj", unpack)
    monkeypatch.setattr(zlib, "decompress", unpack)
    assert contents(with_chunks(PNG, *texts)).data == PNG


def test_an_avif_says_itself_how_it_is_turned() -> None:
    said = Image.Exif()
    said[0x010F], said[0x0112] = "a camera", 6
    data = encoded(drawn(), "AVIF", exif=said)
    assert b"Exif" in data.partition(b"mdat")[0]
    kept = contents(data).data
    assert (b"Exif" in kept.partition(b"mdat")[0], len(kept)) == (False, len(data))
    with Image.open(io.BytesIO(kept)) as picture:
        assert picture.getexif().get(0x0112) == 6


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", None),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "video"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\1\0\1\0", "ICO"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made by hand -->\n<svg/>", "SVG"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"", None),
        (flat_png(8, 8), None),
    ],
)
def test_formats_that_are_known_and_not_read(start: bytes, name: str | None) -> None:
    assert other_format(start + bytes(64)) == name


def test_no_format_that_is_read_is_taken_for_another() -> None:
    for format_ in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "AVIF"):
        assert other_format(encoded(drawn(), format_)) is None
