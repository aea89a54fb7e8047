// Where the loader begins, and where a processor that cannot go on ends up: the vectors of an lx106.
    .section .start, "ax"
vectors:
    .org vectors + 0x10 // debug
    j trap
    .org vectors + 0x20 // non-maskable interrupt
    j trap
    .org vectors + 0x30 // exception in the kernel
    j trap
    .org vectors + 0x50 // exception in a user's program
    j exception
    .org vectors + 0x70 // exception in an exception
    j trap
    .org vectors + 0x80
    .literal_position

    .global _start
    .balign 4
_start:
    movi a1, __stack_end
    movi a2, vectors
    wsr.vecbase a2
    movi a2, 0x20 // a user's program, no exception, all interrupts
    wsr.ps a2
    rsync
    call0 mww_machine_start

    .balign 4
exception:
    wsr.excsave1 a2
    rsr.exccause a2
    bnei a2, 4, trap // all but an interrupt, which ends a sleep
    movi a2, 0
    wsr.intenable a2
    rsync
    rsr.excsave1 a2
    rfe

trap:
    movi a1, __stack_end
    rsr.exccause a2
    rsr.epc1 a3
    call0 mww_machine_trap
