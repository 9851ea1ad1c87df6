/* SDT notes with every form of argument, written by hand so that the compiler chooses nothing; x86-64. Prints what a script must print. */
#include <stdio.h>
#include <stdint.h>

#define NOTE(name, arguments) \
    "990: nop\n .pushsection .note.stapsdt,\"\",\"note\"\n .balign 4\n .4byte 992f-991f, 994f-993f, 3\n" \
    "991: .asciz \"stapsdt\"\n 992: .balign 4\n 993: .8byte 990b, 0, 0\n .asciz \"forms\"\n .asciz \"" name "\"\n .asciz \"" arguments "\"\n" \
    "994: .balign 4\n .popsection\n"

int32_t table[8] = { -10, 11, -12, 13, 14, 15, -16, 17 };
int64_t wide[4] = { -5000000000, 1, 2, 0x123456789abcdef0 };
int16_t narrow[4] = { -1, -2, 300, 65 };
uint8_t bytes[4] = { 1, 200, 3, 255 };
double reals[2] = { 2.5, -0.125 };
float floats[2] = { 1.5f, -3.25f };
const char *texts[2] = { "first", "second" };

int main(void)
{
    asm volatile(NOTE("constants", "-4@$-5 4@$5 8@$0x10 -8@$-5000000000 -1@$-1 1@$255 -2@$-300 2@$65535 4@$4294967295 8@$18446744073709551615 7 -1@$200") : :);
    printf("constants -5 5 16 -5000000000 -1 255 -300 65535 4294967295 -1 7 -56\n");

    asm volatile("movabs $0xfedcba9876548290, %%rax\n" NOTE("low", "-1@%%al 1@%%al -1@%%ah 1@%%ah -2@%%ax 2@%%ax -4@%%eax 4@%%eax -8@%%rax 8@%%rax %%rax %%al") : : : "rax");
    printf("low -112 144 -126 130 -32112 33424 1985249936 1985249936 -81985529216466288 -81985529216466288 -81985529216466288 144\n");

    asm volatile("movabs $0xf0f1f2f38180fffe, %%r10\n mov %%r10, %%r11\n mov %%r10, %%r12\n mov %%r10, %%rsi\n mov %%r10, %%rdi\n mov %%r10, %%r8\n mov %%r10, %%rdx\n"
        NOTE("others", "-1@%%sil 1@%%dil -2@%%r8w 2@%%r10w -4@%%r11d 4@%%r12d -4@%%edx 8@%%r12 -1@%%r11b 1@%%dh -8@%%rsi 2@%%di")
        : : : "rsi", "rdi", "rdx", "r8", "r10", "r11", "r12");
    printf("others -2 254 -2 65534 -2122252290 2172715006 -2122252290 -1084818907555889154 -2 255 -1084818907555889154 65534\n");

    asm volatile("lea table(%%rip), %%rbx\n lea wide(%%rip), %%r12\n lea narrow(%%rip), %%r13\n lea bytes(%%rip), %%r14\n mov $2, %%ecx\n mov $-1, %%r15\n"
        NOTE("memory", "-4@(%%rbx) 4@4(%%rbx) -4@8(%%rbx) -4@-4(%%rbx,%%rcx,4) -8@(%%r12) 8@24(%%r12) 8@-8(%%r12,%%rcx,8) -2@(%%r13,%%rcx,2) 2@2(%%r13) 1@-1(%%r14,%%rcx) -1@3(%%r14) -4@4(%%rbx,%%r15,4)")
        : : : "rbx", "rcx", "r12", "r13", "r14", "r15");
    printf("memory -10 11 -12 11 -5000000000 1311768467463790320 1 300 65534 200 -1 -10\n");

    asm volatile(NOTE("symbols", "-4@table(%%rip) -4@table+8(%%rip) 8@wide+24(%%rip) -8@-8+wide+8(%%rip) -2@2+narrow(%%rip) 1@bytes+3(%%rip) 8@texts+8(%%rip)") : :);
    printf("symbols -10 -12 1311768467463790320 -5000000000 -2 255 second\n");

    asm volatile("lea reals(%%rip), %%rbx\n lea floats(%%rip), %%r12\n movsd (%%rbx), %%xmm0\n" NOTE("reals", "8f@(%%rbx) -8f@8(%%rbx) 4f@(%%r12) -4f@4(%%r12) 8f@%%xmm0") : : : "rbx", "r12", "xmm0");
    printf("reals 2.500 -0.125 1.500 -3.250\n");
    return 0;
}
