# Where QEMU's `virt` begins, and where a processor that cannot go on ends up.
    .option arch, +zicsr
    .section .start, "ax"
    .global _start
_start:
    la sp, __stack_end
    la tp, __thread
    la t0, trap
    csrw mtvec, t0
    call mww_machine_start

    .balign 4
trap:
    la sp, __stack_end
    csrr a0, mcause
    csrr a1, mepc
    call mww_machine_trap
