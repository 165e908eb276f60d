"""`/blend`: pictures that were drawn here, and any others."""

from playground.person import Person
from tests.acceptance.conftest import Rig, finished, png
from tests.acceptance.test_imagine import imagine


async def test_two_pictures_of_the_same_model_are_blended(
    rig: Rig, ada: Person, general: str
) -> None:
    for prompt, seed in (("a red apple", 5), ("a blue cup", 6)):
        await imagine(ada, general, prompt=prompt, seed=seed)
    act = await ada.command(general, "blend", job_1=1, job_2=2, share=0.25)
    done = await finished(ada, general, await act.deferred())
    job = await rig.job(3)
    assert (job.action, job.parent) == ("blend", 1)
    assert job.request.prompt == "a red apple :0.75 AND a blue cup :0.25"
    assert (job.request.seed, job.request.variation_seed) == (5, 6)
    assert job.request.variation_strength == 0.25
    assert done["attachments"]
    # what can't be is said before anything is drawn
    for options, said in (
        ({"job_1": 1}, "two to four pictures"),
        ({"job_1": 1, "job_2": 99}, "no request #99"),
        ({"job_1": 1, "job_2": 3}, "a variation can only be the first"),
        ({"job_1": 1, "number_1": 7, "job_2": 2}, "Say which as number"),
    ):
        refused = await ada.command(general, "blend", **options)
        assert said in (await refused.response())["content"], options
    assert await rig.studio.jobs.get(4) is None


async def test_other_pictures_need_something_that_sees_them(
    rig: Rig, ada: Person, general: str
) -> None:
    files = {f"picture_{n}": await ada.upload(f"{n}.png", png()) for n in (1, 2)}
    act = await ada.command(general, "blend", **files)
    said = (await act.response())["content"]
    assert "needs an IP-Adapter for demo" in said
    assert "job_1 and job_2" in said
    assert await rig.studio.jobs.get(1) is None
