/* Port to Arm's MPS2 board with a Cortex-M3, M4 or M7 (application notes AN385, AN386, AN500), as QEMU emulates it:
 * CMSDK UART 0, timer 0 and the counter of the FPGA's system registers. */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_DATA REGISTER(0x40004000u)
#define UART_STATE REGISTER(0x40004004u)
#define UART_CONTROL REGISTER(0x40004008u)
#define UART_INTERRUPT REGISTER(0x4000400Cu)
#define UART_DIVIDER REGISTER(0x40004010u)
#define SEND_FULL 1u
#define RECEIVED 2u
#define SEND_AND_RECEIVE 3u
#define RECEIVE_INTERRUPT 8u
#define RECEIVE_PENDING 2u

#define TIMER_CONTROL REGISTER(0x40000000u)
#define TIMER_VALUE REGISTER(0x40000004u) /* counts down at CLOCK_HZ */
#define TIMER_RELOAD REGISTER(0x40000008u)

#define FPGA_LEDS REGISTER(0x40028000u)
#define FPGA_COUNTER REGISTER(0x40028018u) /* counts up at CLOCK_HZ / (prescale + 1) */
#define FPGA_PRESCALE REGISTER(0x4002801Cu)

#define NVIC_ENABLE REGISTER(0xE000E100u)
#define NVIC_UNPEND REGISTER(0xE000E280u)
#define UART_RECEIVE_LINE (1u << 0)

#define CLOCK_HZ 25000000u

const uint32_t port_ticks_per_us = CLOCK_HZ / 1000000u;

void port_init(uint32_t baud) {
  uint32_t divider = CLOCK_HZ / baud;
  UART_DIVIDER = divider < 16 ? 16 : divider;
  UART_CONTROL = SEND_AND_RECEIVE | RECEIVE_INTERRUPT;
  TIMER_RELOAD = UINT32_MAX;
  TIMER_VALUE = UINT32_MAX;
  TIMER_CONTROL = 1;
  FPGA_PRESCALE = CLOCK_HZ / 1000000u - 1;
  port_energy_pin(1);
  /* Interrupts stay masked: a pending one only ends `wfi`, in which an emulated processor costs its host nothing. */
  __asm volatile("cpsid i");
  NVIC_ENABLE = UART_RECEIVE_LINE;
}

char port_getchar(void) {
  while (!(UART_STATE & RECEIVED)) {
    UART_INTERRUPT = RECEIVE_PENDING;
    NVIC_UNPEND = UART_RECEIVE_LINE;
    if (UART_STATE & RECEIVED) break; /* it came between the test and the clearing */
    __asm volatile("wfi");
  }
  return (char)UART_DATA;
}

void port_write(const char *text, size_t size) {
  for (size_t i = 0; i < size; i++) {
    while (UART_STATE & SEND_FULL) {
    }
    UART_DATA = (uint8_t)text[i];
  }
}

uint32_t port_timestamp_us(void) { return FPGA_COUNTER; }

uint32_t port_ticks(void) { return ~TIMER_VALUE; }

void port_energy_pin(int level) { FPGA_LEDS = (uint32_t)level; }
