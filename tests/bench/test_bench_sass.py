"""What the kernels' machine code is said to be: how the usual way is found, and what is on it."""

import sys
from collections.abc import Mapping
from functools import cache

import pytest

from bench import sass, sass_paths
from harmonizer.cuda import compiler
from harmonizer.errors import DeviceError

CODE = """
        /*0000*/                   MOV R1, R2 ;
.L_x_1:
        /*0010*/                   LDG.E.EF.128 R4, desc[UR4][R2.64] ;
        /*0020*/               @P0 BRA `(.L_x_2) ;
        /*0030*/                   FADD R4, R4, 1 ;
        /*0040*/                   FADD R4, R4, 1 ;
        /*0050*/                   BRA.DIV UR4, `(.L_x_3) ;
.L_x_2:
        /*0060*/              @!P1 STG.E desc[UR4][R2.64], R4 ;
        /*0070*/                   ISETP.NE.AND P1, PT, R3, RZ, PT ;
        /*0080*/               @P1 BRA `(.L_x_1) ;
        /*0090*/                   EXIT ;
.L_x_3:
        /*00a0*/                   BRA `(.L_x_2) ;
"""

LOCAL_MEMORY = ("hz_prepare", "hz_reduce")
"""Kernels that may have some: test_cuda_compile.py says why."""

MOST_INSTRUCTIONS = 76
"""A pixel, of drawing 8-bit RGB. An H100 issues 70 while its memory moves 7 bytes: see
docs/cuda-kernels.md."""


def loads(block: sass_paths.Block) -> bool:
    return block.has(1, "LDG.128")


def adds(block: sass_paths.Block) -> bool:
    return block.has(1, "FADD")


def stores(block: sass_paths.Block) -> bool:
    return block.has(1, "STG")


def test_round_is_the_shortest_through_its_stations() -> None:
    blocks = sass_paths.blocks_of(sass_paths.instructions_of(CODE))
    assert [len(block.code) for block in blocks] == [1, 2, 3, 3, 1, 1]
    assert sass_paths.size(blocks, sass_paths.shortest_round(blocks, (loads, stores))) == 2 + 3
    way = sass_paths.shortest_round(blocks, (stores, loads, adds))
    assert sass_paths.size(blocks, way) == 2 + 3 + 3


def test_round_through_one_block_alone_counts_it_once() -> None:
    blocks = sass_paths.blocks_of(sass_paths.instructions_of(CODE))
    way = sass_paths.shortest_round(blocks, (loads, loads))
    assert sass_paths.size(blocks, way) == 2 + 3


def test_round_through_what_no_block_has_is_refused() -> None:
    blocks = sass_paths.blocks_of(sass_paths.instructions_of(CODE))
    with pytest.raises(ValueError, match=r"loop through all stations.*\[1, 0\]"):
        sass_paths.shortest_round(blocks, (loads, lambda block: block.has(1, "MUFU")))


def test_accesses_are_told_apart_by_width_and_memory() -> None:
    code = sass_paths.instructions_of(CODE + "        /*00b0*/   LD.E.128 R4, [R2.64] ;\n")
    assert sass.accesses(code) == {"ldg_128": 1, "stg_32": 1, "ld_generic": 1}


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "blocks"),
    [
        (256, 64, 25296, 4),  # hz_draw_rgb8: 32 warps; ncu saw 43 % of 64 at work, of 50 possible
        (512, 60, 49152, 2),
        (256, 40, 16, 6),
        (256, 32, 100 << 10, 2),
        (32, 16, 0, 32),
    ],
)
def test_blocks_of_a_multiprocessor_are_those_that_fit(
    threads: int, registers: int, shared: int, blocks: int
) -> None:
    assert sass.blocks_of(threads, registers, shared) == blocks


def test_missing_disassembler_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(DeviceError, match=r"needs nvdisasm.*pip install nvidia-cuda-nvdisasm"):
        sass.find_disassembler()


@cache
def lines(architecture: int) -> Mapping[str, dict[str, object]]:
    return {str(line["kernel"]): line for line in sass.table(architecture)}


@pytest.fixture(params=sass.ARCHITECTURES)
def kernels(request: pytest.FixtureRequest) -> Mapping[str, dict[str, object]]:
    try:
        sass.find_disassembler()
        compiler.load_nvrtc()
    except DeviceError as error:
        pytest.skip(str(error))
    return lines(request.param)


@pytest.mark.long
def test_kernels_keep_their_pixels_in_registers(
    kernels: Mapping[str, dict[str, object]],
) -> None:
    checked = [line for name, line in kernels.items() if not name.startswith(LOCAL_MEMORY)]
    assert len(checked) > 15
    for line in checked:
        assert (line["stack_bytes"], line["spilled_bytes"]) == (0, 0), line["kernel"]
        least = 37.5 if str(line["kernel"]).startswith("hz_regions") else 50
        assert float(str(line["occupancy_percent"])) >= least, line["kernel"]


@pytest.mark.long
@pytest.mark.parametrize("order", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_packed_bytes_move_by_16_and_as_global_memory(
    kernels: Mapping[str, dict[str, object]], order: str
) -> None:
    line = kernels[f"hz_draw_{order}"]
    assert line["ldg_128"] >= 3 and line["stg_128"] >= 3  # type: ignore[operator]
    # What the compiler does not see to be global waits for each store to shared memory.
    assert line["ld_generic"] == 0 and line["st_generic"] == 0


@pytest.mark.long
def test_usual_pixel_takes_no_more_instructions_than_it_needs(
    kernels: Mapping[str, dict[str, object]],
) -> None:
    for name in ("hz_draw_rgb8", "hz_draw_bgr8"):
        line = kernels[name]
        # 9 for lines, 14 for saturation, 3 for the curve; one reciprocal; of 16 pixels, three
        # loads, four of the mask, three stores.
        assert (line["pixel_fp32"], line["pixel_special"]) == (26, 1)
        assert line["pixel_global"] == pytest.approx(10 / 16, abs=0.01)
        assert line["pixel_convert"] == 0
        assert float(str(line["pixel_instructions"])) <= MOST_INSTRUCTIONS
    assert kernels["hz_measure_u8"]["pixel_shared"] == 3
