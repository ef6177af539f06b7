/*
 * cxx_driver.cpp - a C++ program that includes ntifs.h after the standard library's headers (whose own __try
 * it would otherwise replace), and uses it. SPDX-License-Identifier: MIT
 */
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <vector>
#include <ntifs.h>
#include <ntstrsafe.h>
#include <ntintsafe.h>
#include <cwchar>
#include <cstdint>

extern "C" DRIVER_INITIALIZE DriverEntry;

namespace
{
struct PoolDeleter {
    void operator()(void *Block) const
    {
        ExFreePoolWithTag(Block, 'tseT');
    }
};
template <typename T> using PoolPtr = std::unique_ptr<T, PoolDeleter>;

class Lock
{
  public:
    explicit Lock(KSPIN_LOCK &Spin) : Spin_(Spin)
    {
        KeAcquireSpinLock(&Spin_, &OldIrql_);
    }
    ~Lock()
    {
        KeReleaseSpinLock(&Spin_, OldIrql_);
    }
    Lock(const Lock &) = delete;
    Lock &operator=(const Lock &) = delete;

  private:
    KSPIN_LOCK &Spin_;
    KIRQL OldIrql_;
};

const UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Cxx");
ANSI_STRING Narrow = RTL_CONSTANT_STRING("narrow");
int Failures;

#define CHECK(Expression)                                                                                    \
    do {                                                                                                     \
        if (!(Expression)) {                                                                                 \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #Expression);                                     \
            Failures++;                                                                                      \
        }                                                                                                    \
    } while (0)
} // namespace

extern "C" NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    return STATUS_SUCCESS;
}

int main()
{
    KSPIN_LOCK Spin;
    KeInitializeSpinLock(&Spin);
    {
        Lock Held(Spin);
        CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL);
    }
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);

    PoolPtr<ULONG> Block(static_cast<ULONG *>(ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(ULONG), 'tseT')));
    CHECK(Block && *Block == 0);

    WCHAR Text[32];
    CHECK(NT_SUCCESS(RtlStringCchPrintfW(Text, RTL_NUMBER_OF(Text), L"%wZ:%d", &Name, 7)));
    CHECK(wcscmp(Text, L"\\Device\\Cxx:7") == 0);
    CHECK(wcschr(Text, L':') == Text + 11);
    CHECK(wcslen(Text) == 13);
    CHECK(Narrow.Length == 6);

    UNICODE_STRING Upper = {};
    CHECK(RtlUpcaseUnicodeString(&Upper, &Name, TRUE) == STATUS_SUCCESS);
    CHECK(Upper.Length == Name.Length && Upper.Buffer[8] == L'C');
    RtlFreeUnicodeString(&Upper);

    LIST_ENTRY Head;
    std::vector<LIST_ENTRY> Entries(5);
    InitializeListHead(&Head);
    std::for_each(Entries.begin(), Entries.end(), [&](LIST_ENTRY &Entry) { InsertTailList(&Head, &Entry); });
    CHECK(RemoveHeadList(&Head) == &Entries[0]);
    CHECK(std::min(1, 2) == min(1, 2));

    SIZE_T Product;
    CHECK(RtlSizeTMult(MAXSIZE_T, 2, &Product) == STATUS_INTEGER_OVERFLOW);
    volatile NTSTATUS Raised = STATUS_SUCCESS;
    __try {
        ExRaiseStatus(STATUS_DEVICE_BUSY);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Raised = GetExceptionCode();
    }
    CHECK(Raised == STATUS_DEVICE_BUSY);
    LONG Count = 0;
    CHECK(InterlockedIncrement(&Count) == 1);
    PVOID Pointer = nullptr;
    CHECK(InterlockedExchangePointer(&Pointer, &Count) == nullptr && Pointer == &Count);
    return Failures != 0;
}
