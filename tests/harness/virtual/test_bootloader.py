from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.virtual.bootloader import Action, Bootloader
from harness.virtual.chips import MAC_PREFIX, Security, VirtualChip, find_chip
from harness.virtual.flash import Flash
from harness.virtual.protocol import SYNC_PACKET, Command, SlipDecoder, checksum, slip_frame
from mww.esphome.chips import VIRTUAL_CHIPS

CHIPS = tuple(map(find_chip, VIRTUAL_CHIPS))

MAC = MAC_PREFIX + b"\x01\x02"


class Host:
    """Sends commands and takes the responses apart."""

    def __init__(self, chip: VirtualChip, flash: Flash, security: Security | None = None) -> None:
        self.loader = Bootloader(chip, flash, MAC, security or Security())
        self.action = Action.STAY

    def packets(self, data: bytes) -> list[bytes]:
        reaction = self.loader.feed(data)
        self.action = reaction.action
        return SlipDecoder().feed(reaction.output)

    def command(self, opcode: int, body: bytes = b"", check: int = 0) -> tuple[int, bytes]:
        """Return the response's value and body."""
        packet = self.packets(slip_frame(struct.pack("<BBHI", 0, opcode, len(body), check) + body))[0]
        direction, answered, length, value = struct.unpack("<BBHI", packet[:8])
        assert (direction, answered, length) == (1, opcode, len(packet) - 8)
        return value, packet[8:]

    def block(self, opcode: int, sequence: int, data: bytes) -> bytes:
        return self.command(opcode, struct.pack("<IIII", len(data), sequence, 0, 0) + data, checksum(data))[1]

    def start_stub(self) -> None:
        self.command(Command.MEM_BEGIN, struct.pack("<IIII", 4, 1, 0x1800, 0x40380000))
        self.block(Command.MEM_DATA, 0, b"stub")
        body = struct.pack("<II", 0, 0x40380000)
        packets = self.packets(slip_frame(struct.pack("<BBHI", 0, Command.MEM_END, 8, 0) + body))
        assert packets[-1] == b"OHAI"


@pytest.fixture
def flash(tmp_path: Path) -> Iterator[Flash]:
    with Flash(tmp_path / "flash.bin", find_chip("esp32s3").flash_size) as flash:
        yield flash


@pytest.fixture
def host(flash: Flash) -> Host:
    return Host(find_chip("esp32s3"), flash)


def test_sync_is_answered_eight_times_and_tells_rom_from_stub(host: Host) -> None:
    packets = host.packets(slip_frame(SYNC_PACKET))
    assert len(packets) == 8
    assert struct.unpack_from("<I", packets[0], 4) != (0,)
    host.start_stub()
    assert struct.unpack_from("<I", host.packets(slip_frame(SYNC_PACKET))[0], 4) == (0,)


@pytest.mark.parametrize("stub", [False, True])
def test_status_and_digest_are_those_of_the_rom_or_of_the_stub(host: Host, flash: Flash, stub: bool) -> None:
    flash.program(0x100, b"some bytes")
    if stub:
        host.start_stub()
    _, body = host.command(Command.SPI_FLASH_MD5, struct.pack("<IIII", 0x100, 10, 0, 0))
    digest = hashlib.md5(b"some bytes").digest()
    assert body == (digest + b"\0\0" if stub else digest.hex().encode() + b"\0\0\0\0")


@pytest.mark.parametrize("stub", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_write_erases_its_sectors_and_no_others(host: Host, flash: Flash, stub: bool, compressed: bool) -> None:
    flash.program(0x1000, bytes(0x4000))
    if stub:
        host.start_stub()
    data = bytes(range(256)) * 24
    sent = zlib.compress(data) if compressed else data
    begin, write = (
        (Command.FLASH_DEFL_BEGIN, Command.FLASH_DEFL_DATA) if compressed else (Command.FLASH_BEGIN, Command.FLASH_DATA)
    )
    blocks = [sent[at : at + 0x400] for at in range(0, len(sent), 0x400)]
    assert host.command(begin, struct.pack("<IIIII", len(data), len(blocks), 0x400, 0x2000, 0))[1][0] == 0
    for sequence, block in enumerate(blocks):
        assert host.block(write, sequence, block)[0] == 0
        assert host.block(write, sequence, block)[0] == 0  # sent again because the answer was lost
    assert flash.read(0x2000, len(data)) == data
    assert flash.read(0x2000 + len(data), 0x800) == b"\xff" * 0x800
    assert flash.read(0x1000, 0x1000) + flash.read(0x4000, 0x1000) == bytes(0x2000)


def test_a_write_of_more_than_was_announced_is_refused(host: Host, flash: Flash) -> None:
    host.start_stub()
    bomb = zlib.compress(bytes(1 << 20))
    assert host.command(Command.FLASH_DEFL_BEGIN, struct.pack("<IIIII", 0x1000, 1, 0x4000, 0, 0))[1][0] == 0
    assert host.block(Command.FLASH_DEFL_DATA, 0, bomb)[:2] == b"\x01\xc9"
    assert flash.read(0x1000, 0x1000) == b"\xff" * 0x1000


def test_a_wrong_checksum_and_a_cut_body_are_refused(host: Host) -> None:
    host.command(Command.FLASH_BEGIN, struct.pack("<IIIII", 0x400, 1, 0x400, 0, 0))
    body = struct.pack("<IIII", 4, 0, 0, 0) + b"data"
    assert host.command(Command.FLASH_DATA, body, checksum(b"data") ^ 1)[1][:2] == b"\x01\x07"
    assert host.command(Command.FLASH_DATA, body[:10], 0)[1][:2] == b"\x01\x05"


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_registers_say_which_chip_this_is(chip: VirtualChip, tmp_path: Path) -> None:
    with Flash(tmp_path / "flash.bin", chip.flash_size) as flash:
        host = Host(chip, flash)
        low, high = (host.command(Command.READ_REG, struct.pack("<I", word))[0] for word in chip.efuses.mac)
        assert struct.pack(">I", high)[2:] + struct.pack(">I", low) == MAC
        info = host.command(Command.GET_SECURITY_INFO)[1]
        assert info[:2] == b"\x01\x05" if not chip.security_info else info[12:16] == struct.pack("<I", chip.image_id)


def test_burnt_efuses_show(flash: Flash) -> None:
    chip = find_chip("esp32s3")
    host = Host(chip, flash, Security(secure_boot=True, flash_encryption=True))
    info = host.command(Command.GET_SECURITY_INFO)[1]
    assert info[0] & 1
    assert info[4].bit_count() % 2 == 1
    address, mask = chip.efuses.secure_boot
    assert host.command(Command.READ_REG, struct.pack("<I", address))[0] & mask


def test_secure_download_mode_leaves_few_commands(flash: Flash) -> None:
    host = Host(find_chip("esp32s3"), flash, Security(secure_download=True))
    assert host.command(Command.READ_REG, struct.pack("<I", 0x40001000))[1][0] == 1
    assert host.command(Command.FLASH_BEGIN, struct.pack("<IIIII", 0, 0, 0x400, 0, 0))[1][0] == 0


def test_the_end_of_a_download_boots_resets_or_stays(host: Host) -> None:
    host.command(Command.FLASH_END, struct.pack("<I", 1))
    assert host.action is Action.BOOT
    host.command(Command.FLASH_END, struct.pack("<I", 0))
    assert host.action is Action.RESET
    host.start_stub()
    host.command(Command.FLASH_END, struct.pack("<I", 1))
    assert host.action is Action.STAY


@given(
    opcode=st.sampled_from([*Command, 0xFF]),
    words=st.lists(st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 1, 0x1000, 0x400000]), max_size=6),
    stub=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_command_breaks_the_bootloader(flash: Flash, opcode: int, words: list[int], stub: bool) -> None:
    host = Host(find_chip("esp32s3"), flash)
    if stub:
        host.start_stub()
    body = struct.pack(f"<{len(words)}I", *words)
    packets = host.packets(slip_frame(struct.pack("<BBHI", 0, opcode, len(body), 0) + body))
    assert packets
    assert host.packets(slip_frame(b"\0") + slip_frame(SYNC_PACKET))
