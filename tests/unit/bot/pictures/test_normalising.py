"""What becomes of pictures of every kind: what people meant, as RGB."""

import io
import zlib

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, ImageCms, ImageFile, ImageOps

from bot.pictures import normalising
from bot.pictures.normalising import FORMATS, ORIENTATION, Bounds, PartOfFile, normalised
from generation.refusal import Refused
from tests.fixtures.pictures import (
    DATA,
    chunk,
    drawn,
    encoded,
    exif,
    flat_png,
    with_chunks,
    with_scans,
    with_segments,
)

BOUNDS = Bounds(pixels=1_000_000, side=512, cover=256, longest=1024)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def read(data: bytes, bounds: Bounds = BOUNDS) -> Image.Image:
    """The picture that is kept; it is always a PNG of three channels and nothing else."""
    made = normalised(data, bounds)
    picture = Image.open(io.BytesIO(made))
    assert (picture.format, picture.mode, picture.info) == ("PNG", "RGB", {})
    return picture


def refused(data: bytes, bounds: Bounds = BOUNDS) -> Refused:
    with pytest.raises(Refused) as raised:
        normalised(data, bounds)
    return raised.value


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean over all channels, of 255."""
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_read(format_: str) -> None:
    assert difference(read(encoded(drawn(), format_)), drawn()) < 4


def test_others_in_the_process_open_what_they_did_before() -> None:
    before = Image.MAX_IMAGE_PIXELS, AvifImagePlugin.DEFAULT_MAX_THREADS
    normalised(flat_png(8, 8), BOUNDS)
    refused(flat_png(1001, 1000))
    assert before == (Image.MAX_IMAGE_PIXELS, AvifImagePlugin.DEFAULT_MAX_THREADS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_kind_of_png_is_read(mode: str) -> None:
    picture = drawn(mode=mode)
    assert difference(read(encoded(picture, "PNG")), picture.convert("RGB")) < 1


def test_a_png_of_sixteen_bits_is_not_clipped() -> None:
    grey = Image.fromarray(np.array([[0, 300, 32768, 65535]], np.uint16))
    row = read(encoded(grey, "PNG"))
    assert [row.getpixel((x, 0)) for x in range(4)] == [(v, v, v) for v in (0, 1, 128, 255)]


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame_is_taken(format_: str) -> None:
    frames = [Image.new("RGB", (32, 32), name) for name in ("red", "lime", "blue")]
    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=50)
    assert difference(read(data), frames[0]) < 4
    bounds = Bounds(10**6, 512, 1, 512)
    with pytest.raises(Refused, match="picture_animated"):
        normalised(data, bounds, still=True)
    alone = encoded(frames[0], format_)
    assert normalised(alone, bounds, still=True) == normalised(alone, bounds)


# transparency


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), {}),
        (Image.new("LA", (8, 8), (0, 0)), {}),
        (Image.new("P", (8, 8), 0), {"transparency": 0}),
        (Image.new("RGB", (8, 8), "red"), {"transparency": (255, 0, 0)}),
        (Image.new("L", (8, 8), 7), {"transparency": 7}),
    ],
    ids=["RGBA", "LA", "P", "one colour", "one grey"],
)
def test_what_is_transparent_becomes_white(
    picture: Image.Image, options: dict[str, object]
) -> None:
    assert read(encoded(picture, "PNG", **options)).getpixel((0, 0)) == (255, 255, 255)


def test_half_transparent_is_mixed_with_white() -> None:
    png = encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 51)), "PNG")
    assert read(png).getpixel((0, 0)) == (255, 204, 204)


def test_what_lies_under_transparency_does_not_bleed_when_it_is_made_smaller() -> None:
    picture = Image.new("RGBA", (900, 900), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (450, 0, 900, 900))
    row = read(encoded(picture, "PNG")).crop((0, 100, 512, 101))
    assert min(row.getchannel("R").tobytes()) > 250


def test_an_opaque_picture_keeps_its_colours() -> None:
    png = encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG")
    assert read(png).getpixel((0, 0)) == (1, 2, 3)


# masks


def mask_in(data: bytes, part: PartOfFile, bounds: Bounds = BOUNDS) -> Image.Image:
    picture = Image.open(io.BytesIO(normalised(data, bounds, part)))
    assert (picture.format, picture.mode, picture.info) == ("PNG", "L", {})
    return picture


def test_what_is_erased_is_white_in_its_mask() -> None:
    """Feathered as it is given."""
    picture = Image.new("RGBA", (40, 8), (9, 9, 9, 255))
    for alpha, left in ((0, 8), (55, 16), (200, 24)):
        picture.putpixel((left, 0), (9, 9, 9, alpha))
    row = mask_in(encoded(picture, "PNG"), "erased")
    assert [row.getpixel((left, 0)) for left in (0, 8, 16, 24, 32)] == [0, 255, 200, 55, 0]


def test_a_mask_of_what_is_erased_is_turned_and_made_smaller_with_its_picture() -> None:
    picture = Image.new("RGBA", (900, 600), "red")
    picture.paste((0, 0, 0, 0), (450, 0, 900, 600))
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    data = encoded(picture, "PNG", exif=turned)
    mask, kept = mask_in(data, "erased"), read(data)
    assert mask.size == kept.size
    places = [(left, top) for top in (9, mask.height - 9) for left in (9, mask.width - 9)]
    assert [mask.getpixel(place) for place in places] == [0, 0, 255, 255]
    assert [kept.getpixel(place)[1] for place in places] == [0, 0, 255, 255]  # type: ignore[index]


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (8, 8)),
        Image.new("RGBA", (8, 8), (0, 0, 0, 255)),
        # a shadow is nothing that was erased
        Image.new("RGBA", (8, 8), (0, 0, 0, 140)),
    ],
    ids=["opaque", "opaque with alpha", "half transparent"],
)
def test_where_nothing_is_erased_there_is_no_mask(picture: Image.Image) -> None:
    assert normalised(encoded(picture, "PNG"), BOUNDS, "erased") == b""


def test_a_mask_is_kept_in_its_greys_and_what_is_transparent_of_it_is_black() -> None:
    painted = Image.new("RGBA", (24, 8), (255, 255, 255, 0))
    painted.paste("white", (8, 0, 16, 8))
    painted.paste((100, 100, 100, 255), (16, 0, 24, 8))
    row = mask_in(encoded(painted, "PNG"), "mask")
    assert [row.getpixel((left, 0)) for left in (0, 8, 16)] == [0, 255, 100]


def test_a_mask_that_leaves_nothing_to_draw_is_refused() -> None:
    for grey in (0, 127):
        with pytest.raises(Refused) as raised:
            normalised(encoded(Image.new("L", (8, 8), grey), "PNG"), BOUNDS, "mask")
        assert raised.value.code == "mask_black"
    assert mask_in(encoded(Image.new("L", (8, 8), 128), "PNG"), "mask").getpixel((0, 0)) == 128


# how it is turned


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_pictures_stand_upright(format_: str, orientation: int) -> None:
    data = encoded(drawn(), format_, exif=b"Exif\0\0" + exif(orientation))
    with Image.open(io.BytesIO(data)) as stored:
        expected = ImageOps.exif_transpose(stored).convert("RGB")
    assert read(data).size == expected.size
    assert difference(read(data), expected) < 4


@pytest.mark.parametrize(
    "odd",
    [
        b"", b"Exif\0\0", b"garbage", exif(6)[:11], exif(9), exif(0), exif(6, kind=2),
        exif(6, kind=12), exif(2**31 - 1, kind=4), exif(-5, kind=9), b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff" + bytes(300),
    ],
)  # fmt: skip
def test_exif_that_says_nothing_sensible_turns_nothing(odd: bytes) -> None:
    jpeg = with_segments(encoded(drawn(), "JPEG"), (0xE1, b"Exif\0\0" + odd))
    png = with_chunks(encoded(drawn(), "PNG"), chunk(b"eXIf", odd))
    assert difference(read(jpeg), drawn()) < 4
    assert difference(read(png), drawn()) == 0


# colours


def test_display_p3_becomes_srgb() -> None:
    assert read((DATA / "p3_red.png").read_bytes()).getpixel((30, 30)) == (255, 4, 41)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_profiles_are_applied_in_every_format(format_: str) -> None:
    with Image.open(DATA / "p3_red.png") as picture:
        profile = picture.info["icc_profile"]
    options = {"quality": 100} if format_ != "PNG" else {}
    same = encoded(Image.new("RGB", (64, 64), (200, 60, 60)), format_, **options)
    p3 = encoded(Image.new("RGB", (64, 64), (200, 60, 60)), format_, icc_profile=profile, **options)
    red, _, _ = np.asarray(read(p3), int)[30, 30] - np.asarray(read(same), int)[30, 30]
    assert 8 < red < 25


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_a_profile_of_srgb_changes_nothing(mode: str) -> None:
    picture = drawn(mode=mode)
    found = read(encoded(picture, "PNG", icc_profile=SRGB))
    assert difference(found, picture.convert("RGB")) < 0.5


def test_transparency_stays_beside_a_profile() -> None:
    png = encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 51)), "PNG", icc_profile=SRGB)
    assert read(png).getpixel((0, 0)) == (255, 204, 204)


@pytest.mark.parametrize(
    "odd", [b"no profile", SRGB[:200], SRGB[:-30] + bytes(30), bytes(len(SRGB)), SRGB[:128]]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_profile_that_cannot_be_used_is_left_out(mode: str, odd: bytes) -> None:
    data = encoded(drawn(mode=mode), "JPEG", icc_profile=odd)
    assert difference(read(data), read(encoded(drawn(mode=mode), "JPEG"))) < 1


def test_a_profile_of_other_colours_than_the_pictures_is_left_out() -> None:
    cmyk = encoded(drawn(mode="CMYK"), "JPEG", icc_profile=SRGB)
    assert difference(read(cmyk), drawn()) < 12


def test_a_cmyk_jpeg_is_no_negative() -> None:
    assert difference(read(encoded(drawn(mode="CMYK"), "JPEG")), drawn()) < 12


def test_a_png_of_linear_light_is_made_for_screens() -> None:
    png = encoded(Image.new("RGB", (8, 8), (55, 55, 55)), "PNG")
    linear = chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    usual = chunk(b"gAMA", (45_455).to_bytes(4, "big"))
    for odd in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        assert read(with_chunks(png, chunk(b"gAMA", odd))).size == (8, 8)
    assert read(with_chunks(png, linear)).getpixel((0, 0)) == (127, 127, 127)
    assert read(with_chunks(png, usual)).getpixel((0, 0)) == (55, 55, 55)
    assert read(with_chunks(png, linear, chunk(b"sRGB", b"\0"))).getpixel((0, 0)) == (55, 55, 55)


def test_gamma_leaves_transparency_alone() -> None:
    png = encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 51)), "PNG")
    linear = chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    assert read(with_chunks(png, linear)).getpixel((0, 0)) == (255, 204, 204)


# sizes


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((512, 384), (512, 384)),
        ((64, 8), (64, 8)),
        ((1000, 1000), (512, 512)),
        ((1000, 500), (512, 256)),
        ((500, 1000), (256, 512)),
        ((1200, 400), (768, 256)),  # a part of it is to fill 256 x 256
        ((8000, 100), (1024, 13)),
        ((9000, 1), (1024, 1)),
    ],
)
def test_what_is_larger_than_can_be_drawn_is_made_smaller(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    assert read(flat_png(*size)).size == kept
    if max(size) < 8000:
        assert read(encoded(Image.new("RGB", size), "JPEG")).size == kept


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_what_is_made_smaller_is_the_whole_picture(format_: str) -> None:
    large = drawn(1100, 900)
    found = read(encoded(large, format_))
    assert difference(found, large.resize(found.size, Image.Resampling.LANCZOS)) < 2


def test_a_large_jpeg_is_not_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, load = [], normalising._with_eight_bits

    def counted(picture: ImageFile.ImageFile) -> Image.Image:
        loaded = load(picture)
        sizes.append(loaded.size)
        return loaded

    monkeypatch.setattr(normalising, "_with_eight_bits", counted)
    small = Bounds(pixels=1_000_000, side=128, cover=64, longest=512)
    assert read(encoded(drawn(1000, 1000), "JPEG"), small).size == (128, 128)
    assert sizes == [(250, 250)]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = flat_png(1600, 1000) if format_ == "PNG" else encoded(drawn(1600, 1000), format_)

    def load(_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    found = refused(data)
    assert (found.code, found.params) == ("picture_too_large", {"megapixels": 2, "high": 1})


def test_a_bomb_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(flat_png(30_000, 3_000)).params["megapixels"] == 90

    def open_(_: bytes) -> None:
        raise AssertionError("memory was taken for all its pixels")

    webp = encoded(Image.new("RGB", (2001, 1000)), "WEBP")
    monkeypatch.setattr("PIL._webp.WebPAnimDecoder", open_)
    assert refused(webp).params["megapixels"] == 2


# what can't be read


@pytest.mark.parametrize("file", sorted(DATA.iterdir()), ids=lambda file: file.name)
def test_pictures_that_every_viewer_shows_are_read(file: object) -> None:
    assert read(file.read_bytes()).width in (64, 256)  # type: ignore[attr-defined]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_that_is_cut_off_is_refused(format_: str) -> None:
    data = encoded(drawn(300, 300), format_)
    for length in (12, 40, len(data) // 2):
        assert refused(data[:length]).code == "picture_unreadable"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"not a picture", b"GIF89a", b"BM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP", bytes(5000), flat_png(0, 5), flat_png(5, 0),
        with_chunks(encoded(drawn(), "PNG"), chunk(b"CgBI", bytes(4)))[:80],
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert refused(data).code == "picture_unreadable"


def test_a_picture_of_a_format_that_is_not_read_is_named() -> None:
    tiff = encoded(drawn(), "TIFF")
    assert (refused(tiff).code, refused(tiff).params) == ("picture_format", {"format": "TIFF"})
    assert refused(b"<svg width='9'/>").params == {"format": "SVG"}
    assert refused(encoded(drawn(), "PPM")).code == "picture_unreadable"


def test_scans_and_chunks_without_end_are_refused_unread() -> None:
    assert refused(with_scans(64, 64, 5000)).code == "picture_too_slow"
    many = with_chunks(encoded(drawn(), "PNG"), chunk(b"tEXt", b"") * 60_000)
    assert refused(many).code == "picture_too_slow"


def test_text_that_unpacks_to_gigabytes_is_not_looked_at() -> None:
    bomb = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(2**24), 9))
    assert read(with_chunks(encoded(drawn(), "PNG"), *[bomb] * 50)).size == (64, 48)


def test_memory_that_runs_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert refused(encoded(drawn(), "PNG")).code == "picture_too_much_memory"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_one_that_moves_is_its_first_frame_or_refused(kind: str) -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    moving, still = io.BytesIO(), io.BytesIO()
    frames[0].save(moving, kind, save_all=True, append_images=frames[1:], duration=100)
    frames[0].save(still, kind)
    assert normalised(moving.getvalue(), BOUNDS)
    assert normalised(still.getvalue(), BOUNDS, still=True)
    with pytest.raises(Refused) as refused:
        normalised(moving.getvalue(), BOUNDS, still=True)
    assert refused.value.code == "picture_animated"
