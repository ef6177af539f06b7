// seh_cxx.cpp - __try in C++. SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <ntddk.h>

static char Log[16];
static unsigned Length;
static void Note(char letter)
{
    Log[Length++] = letter;
}
static int *volatile Bad = reinterpret_cast<int *>(0x10);
static volatile int One = 1;

struct Counter {
    int Value = 0;
    __attribute__((noinline)) int Work(int which)
    {
        int local = 1;
        __try {
            __try {
                local = 2;
                if (which == 1) return local + 10;
                if (which == 2) __leave;
                *Bad = 1;
                local = 3;
            } __finally {
                Note(AbnormalTermination() ? 'A' : 'n');
                Value++;
            }
        } __except (GetExceptionCode() == STATUS_ACCESS_VIOLATION ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
            local += 100;
        }
        return local;
    }
};

int main()
{
    Counter counter;
    if (counter.Work(1) != 12 || counter.Work(2) != 2 || counter.Work(3) != 102 || counter.Value != 3) return 1;
    for (int i = 0; i < 3; i++) {
        __try {
            if (i == 1) break;
            ExRaiseStatus(STATUS_NO_MEMORY);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Note('h');
            continue;
        }
    }
    if (One) Note('e');
    if (std::string_view(Log) != "AnAhe") {
        std::printf("%s\n", Log);
        return 2;
    }
    return 0;
}
