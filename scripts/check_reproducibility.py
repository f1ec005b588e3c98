"""Run draw, prepare, train and evaluate in many environments on one machine, and compare every byte they write.

    python scripts/check_reproducibility.py                                        all environments below
    python scripts/check_reproducibility.py --python .venv-3.13/bin/python         the same, and another interpreter
    python scripts/check_reproducibility.py --runner 'qemu-x86_64 -cpu Nehalem'    an emulated older CPU (minutes)
    python scripts/check_reproducibility.py --arm                                  emulated Arm CPUs (minutes)
    python scripts/check_reproducibility.py --engines                              one training on every engine

Each environment works in a folder of its own. The stages run with the default parameters, and once more with a learning
rate of 0.01, at which rounding errors grow. The training set is also trained by blocks, and pictures in several formats
are decoded with every choice of resize and decode. Three probes show that the environments really differ: the BLAS
kernel that NumPy chose, and hashes over values of numpy.exp and math.exp, whose last bits depend on the CPU. The exit
code is 0 if all outputs are the same.

--arm compares this machine with two emulated Arm CPUs, without and with SME (`emulated_arm.py`). It needs Debian's
package qemu-user-static, and the first time 140 MB of downloads, which it keeps in .one-neuron/arm.

--engines trains one set by blocks on this machine's threads, on 1, 2 and 5 workers of Ray, on workers one of which is
killed half-way, with PyTorch on the CPU, and on a GPU if PyTorch sees one. It prints one SHA-256 over w, b, costs,
snapshots and the stability bound. Engines that are not installed are named and left out.
"""

import argparse
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from emulated_arm import find_cpus
from PIL import Image

from one_neuron.errors import EnvironmentProblem, report_error

ROOT = Path(__file__).resolve().parent.parent
LEARNING_RATES = ("0.005", "0.01")
OUTPUTS = ("data", "models", "metrics", "plots")
CORES = {  # for which OpenBLAS has code of its own, the oldest first
    "x86_64": "Prescott Core2 Nehalem Sandybridge Haswell Zen SkylakeX Cooperlake Sapphirerapids".split(),
    "aarch64": "ARMV8 CORTEXA53 CORTEXA57 CORTEXA72 THUNDERX2T99 NEOVERSEN1 NEOVERSEV1 A64FX ARMV9SME".split(),
}
NO_FMA = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL,-AVX2_Usable,-FMA_Usable"
SIGILL = -4

PROBE = """
import hashlib, math, numpy, threadpoolctl
x = numpy.linspace(-30, 30, 100_001)
blas = [pool.get("architecture", "?") for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"] or "?"
exps = numpy.exp(x).tobytes(), numpy.array([math.exp(v) * math.sin(v) for v in x]).tobytes()
print("%-16s%-10s%-10s" % (blas[0], *(hashlib.sha256(e).hexdigest()[:8] for e in exps)), end="")
"""

# The default pictures are few enough for the gram form; this covers blocks, the form for many pictures.
BLOCKS = """
from pathlib import Path
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.storage.prepared_set import load_prepared
gradient_descent.GRAM_LIMIT = 0
prepared = load_prepared(Path("data/prepared/train.h5"))
result = gradient_descent.optimize(prepared.X, prepared.Y, learning_rate=0.01, num_iterations=20, record_every=1)
assert result.form == "blocks"
snapshots = b"".join(kept.w.tobytes() for kept in result.snapshots.values())
Path("models/blocks.bin").write_bytes(snapshots + result.costs.tobytes())
"""

# The drawn pictures are square PNGs of one size; these have the formats and sizes of users' own pictures.
PICTURES = """
from pathlib import Path
from one_neuron.pictures.preprocessing import DECODES, RESIZES, Preprocessing
from one_neuron.pictures.reader import load_picture
ways = [Preprocessing(64, resize, decode) for resize in RESIZES for decode in DECODES]
Path("data/pictures.bin").write_bytes(b"".join(
    load_picture(path, way).tobytes() for path in sorted(Path("pictures").iterdir()) for way in ways
))
"""


# One training on one engine; it prints the SHA-256 of its result. "killed" ends a worker of Ray in mid-training.
ENGINE = """
import hashlib, sys
from functools import partial
import numpy as np
from one_neuron.gradient_descent.optimize import optimize
kind, shards = sys.argv[1:]
engine = kind
if kind in ("ray", "killed"):
    from one_neuron.gradient_descent.engines.on_ray import RayPasses
    engine = partial(RayPasses, shards=int(shards))
    if kind == "killed":
        add_up, calls = RayPasses.add_up, []
        def interrupt(self, wanted):
            calls.append(wanted)
            if len(calls) == 20:
                self._ray.kill(self._workers[0][0])
            return add_up(self, wanted)
        RayPasses.add_up = interrupt
if kind == "torch":
    from one_neuron.gradient_descent.engines.on_torch import TorchPasses
    engine = partial(TorchPasses, device="cpu")
rng = np.random.default_rng(7)
X = rng.integers(0, 256, (12_000, 3072), dtype=np.uint8)
Y = X[:, :50].mean(axis=1) > 127.5
result = optimize(X, Y, learning_rate=0.002, num_iterations=40, record_every=10, engine=engine)
assert result.form == "blocks"
digest = hashlib.sha256(result.costs.tobytes() + np.float64(result.stability_bound).tobytes())
for kept in (*result.snapshots.values(), result.parameters):
    digest.update(kept.w.tobytes() + np.float64(kept.b).tobytes())
print(digest.hexdigest())
"""
ENGINES = {
    "local": ("local", "0", ""),
    **{f"Ray, {n} shards": ("ray", n, "ray") for n in ("1", "2", "5")},
    "Ray, 2 shards, one killed": ("killed", "2", "ray"),
    "PyTorch on the CPU, float64": ("torch", "0", "torch"),
    "CUDA": ("cuda", "0", "torch"),
}


def environments(machine: str) -> dict[str, dict[str, str]]:
    """Return the variables that each environment sets in addition to the user's own, by its name.

    Parameters
    ----------
    machine : str
        The architecture of the CPU, as `platform.machine()` calls it.
    """
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(machine, machine)
    cores = CORES.get(machine, [])
    features = np.show_config(mode="dicts")["SIMD Extensions"]["found"]  # beyond those that NumPy always uses
    found: dict[str, dict[str, str]] = {"unchanged": {}, "unchanged, again": {}}
    found |= {f"{n} BLAS threads": {"OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n} for n in ("1", "2", "8")}
    found |= {f"BLAS for {core}": {"OPENBLAS_CORETYPE": core} for core in cores}
    plain = {"NumPy for the oldest CPU": {"NPY_DISABLE_CPU_FEATURES": " ".join(features)}}
    if machine == "x86_64":  # every 64-bit Arm CPU has fused multiply-add
        plain["glibc without AVX2, FMA"] = {"GLIBC_TUNABLES": NO_FMA}
    plain[f"numba for any {machine}"] = {"NUMBA_CPU_NAME": "generic"}
    plain["libjpeg-turbo without SIMD"] = {"JSIMD_FORCENONE": "1"}
    together = {key: value for changes in plain.values() for key, value in changes.items()}
    together |= {"OPENBLAS_NUM_THREADS": "1"} | ({"OPENBLAS_CORETYPE": cores[0]} if cores else {})
    return {**found, **plain, "all of these at once": together}


def run_stages(name: str, source: Path, changes: dict[str, str], command: list[str]) -> tuple[str, str]:
    """Run the four stages at each learning rate in a copy of `source`; return the probes and a hash of all outputs.

    The hash is empty if this CPU lacks instructions that the environment needs.
    """
    settings = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    settings |= {"PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": ""} | changes

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], cwd=folder, env=settings, capture_output=True, text=True, check=False
        )

    with tempfile.TemporaryDirectory(prefix="one neuron ") as temporary:
        folder = Path(temporary) / "project"
        shutil.copytree(source, folder)
        digest = hashlib.sha256()
        probe = run("-c", PROBE)
        params = (source / "params.yaml").read_text(encoding="utf-8")
        for rate in LEARNING_RATES:
            changed = params.replace("learning_rate: 0.005", f"learning_rate: {rate}")
            (folder / "params.yaml").write_text(changed, encoding="utf-8")
            stages = ("draw", "prepare", "train", "evaluate") if rate == LEARNING_RATES[0] else ("train", "evaluate")
            for stage in stages:
                done = run(f"pipeline/{stage}.py")
                if done.returncode == SIGILL:
                    return probe.stdout, ""
                if done.returncode:
                    raise RuntimeError(f"{name}: {stage} ended with {done.returncode}: {done.stderr}")
            programs = {"the blocks form": BLOCKS, "decoding": PICTURES} if rate == LEARNING_RATES[0] else {}
            for what, program in programs.items():  # neither depends on the learning rate of params.yaml
                done = run("-c", program)
                if done.returncode:
                    raise RuntimeError(f"{name}: {what} ended with {done.returncode}: {done.stderr}")
            shutil.rmtree(folder / "data/digests")  # they follow from the other files
            for path in sorted(path for part in OUTPUTS for path in (folder / part).rglob("*") if path.is_file()):
                digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return probe.stdout, digest.hexdigest()


def compare_engines() -> int:
    """Print the SHA-256 of one training on each engine; return 1 if they differ."""
    digests = set()
    settings = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "ONE_NEURON_"))}
    settings |= {"PYTHONPATH": str(ROOT / "src")}
    for name, (kind, shards, library) in ENGINES.items():
        command = [sys.executable, "-c", ENGINE, kind, shards]
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        reason = done.stderr.strip().rpartition("\n")[2]
        if (
            done.returncode
            and library
            and re.search(f"No module named '{library}'|{library} is not|CUDA devices", reason)
        ):
            print(f"{name:<32}not run: {reason}")
            continue
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr}")
        if kind == "killed" and "another one takes over its rows" not in done.stderr:
            raise RuntimeError(f"{name}: no worker was killed")
        digests.add(digest := done.stdout.split()[-1])
        print(f"{name:<32}{digest}", flush=True)
    same = len(digests) == 1
    print(f"one SHA-256: {digest}" if same else "The engines differ.")
    return 0 if same else 1


def copy_source(folder: Path) -> Path:
    """Copy what the stages need, so that an edit during the run has no effect, and save the pictures to decode."""
    for part in ("src", "pipeline"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 256, (25, 33, 3), dtype=np.uint8))
    for height, width in ((375, 500), (501, 333), (1700, 1300)):
        picture = small.resize((width, height), Image.Resampling.BICUBIC)
        for name, options in (
            ("jpg", {"quality": 85}),
            ("webp", {"quality": 80}),
            ("tif", {"compression": "tiff_lzw"}),
        ):
            picture.save(folder / "pictures" / f"{width}.{name}", **options)
        picture.convert("CMYK").save(folder / "pictures" / f"{width}-cmyk.jpg", progressive=True)
        deep = np.asarray(picture.convert("L"), dtype=np.uint16) * 257
        Image.fromarray(deep).save(folder / "pictures" / f"{width}-deep.png")
    return folder


def main() -> int:
    """Print a line for each environment, then the SHA-256 that all have in common."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], metavar="PATH", help="also run with this interpreter")
    parser.add_argument("--runner", help="run only one environment, with this command before the interpreter")
    parser.add_argument("--arm", action="store_true", help="run on this machine and on two emulated Arm CPUs")
    parser.add_argument("--engines", action="store_true", help="compare the engines instead of the environments")
    options = parser.parse_args()
    if options.engines:
        return compare_engines()
    cases: dict[str, tuple[dict[str, str], list[str]]]
    if options.arm:
        try:
            cases = {"this machine": ({}, [sys.executable])} | find_cpus(ROOT, ROOT / ".one-neuron/arm")
        except EnvironmentProblem as error:
            return report_error(error)
    elif options.runner:
        cases = {options.runner: ({}, [*shlex.split(options.runner), sys.executable])}
    else:
        cases = {name: (changes, [sys.executable]) for name, changes in environments(platform.machine()).items()}
        cases |= {python: ({}, [str(Path(python).absolute())]) for python in options.python}
    print(f"{'environment':<32}{'BLAS':<16}{'np.exp':<10}{'math':<10}SHA-256 of all outputs")
    digests = set()
    at_once = 1 if options.arm else os.cpu_count()  # an emulated CPU takes a gigabyte, and several threads
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(at_once) as pool:
        source = copy_source(Path(temporary))
        results = {name: pool.submit(run_stages, name, source, *case) for name, case in cases.items()}
        for name, result in results.items():
            probes, digest = result.result()
            print(f"{name[-31:]:<32}{probes:<36}{digest or 'this CPU lacks the instructions'}", flush=True)
            digests |= {digest} - {""}
    if len(digests) != 1:
        print("The outputs differ: a sum has no fixed order, or a function depends on the platform.")
        return 1
    print(f"one SHA-256 in {len(cases)} environments: {digests.pop()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
