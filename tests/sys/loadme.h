/* loadme.h - what tests ask of loadme.sys. SPDX-License-Identifier: MIT */
#define LOADME_DEVICE          L"\\Device\\LoadMe"
#define LOADME_LINK            L"\\DosDevices\\LoadMe"
#define LOADME_IOCTL(Function) (0x220000u | ((Function) << 2)) /* FILE_DEVICE_UNKNOWN, METHOD_BUFFERED, any access */
#define LOADME_ECHO            LOADME_IOCTL(0x800)             /* output = input, bytes inverted */
#define LOADME_IRQL            LOADME_IOCTL(0x801) /* IRQL before, raised by mov cr8, by KeRaiseIrql, after: 4 bytes */
#define LOADME_SHARED          LOADME_IOCTL(0x802) /* ULONG64: tick count, system time, interrupt time of KUSER_SHARED_DATA */
#define LOADME_GS              LOADME_IOCTL(0x803) /* ULONG64: gs:188h, PsGetCurrentThread(), gs:184h, KeGetCurrentProcessorNumber */
#define LOADME_MISSING         LOADME_IOCTL(0x804) /* calls an import that nobody has */
#define LOADME_INIT            LOADME_IOCTL(0x805) /* calls into discarded INIT code */
#define LOADME_RODATA          LOADME_IOCTL(0x806) /* writes to a constant */
#define LOADME_LEAK            LOADME_IOCTL(0x807) /* allocates 100 bytes and forgets them */
#define LOADME_DATA            LOADME_IOCTL(0x809) /* ULONG64: MmHighestUserAddress, the file object type */
#define LOADME_FORMAT          LOADME_IOCTL(0x80a) /* text made by RtlStringCb-style and CRT formatting */
#define LOADME_LOOKASIDE       LOADME_IOCTL(0x80b) /* inlined lookaside: allocations made, list depth */
#define LOADME_PRIVILEGED      LOADME_IOCTL(0x80c) /* ULONG64: cr4, cr0, interrupts round trip */
#define LOADME_ROUTINE         LOADME_IOCTL(0x80d) /* pool block through MmGetSystemRoutineAddress(ExAllocatePoolWithTag) */
#define LOADME_XTEXT           LOADME_IOCTL(0x80e) /* calls into the data section: NX */
#define LOADME_THREAD          LOADME_IOCTL(0x80f) /* a system thread of its own writes to a constant */
#define LOADME_BEYOND          LOADME_IOCTL(0x810) /* writes where the host's own kernel is */
#define LOADME_LOOSE           LOADME_IOCTL(0x811) /* a system thread that nobody waits for, and that ends at once */
#define LOADME_DEEP            LOADME_IOCTL(0x812) /* recursion until the stack ends, found by the compiler's stack probe */
#define LOADME_LOCK            (LOADME_IOCTL(0x818) | 3) /* METHOD_NEITHER: locks the output buffer and forgets it */
