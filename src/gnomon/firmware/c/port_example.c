/* An example of a port: an STM32 Nucleo board with a project from STM32CubeMX. Any board needs the same five things.
 *
 *  1. In CubeMX: USART2 (the ST-LINK's virtual serial port; huart2), TIM2 with a 32-bit counter and a prescaler that
 *     makes it count at 1 MHz (htim2), and a free pin as output, named TIMESTAMP (Arduino's D7, where the field's
 *     monitors are wired). Open drain with a pull-up suits monitors of another voltage.
 *  2. Add to the project: this file, protocol.c, softmax.c, kernels_plain.c, on a Cortex-M4, M7 or M33 kernels_dsp.c
 *     as well, and the model.c that `build` has written into its folder for the same kernels. The vendor's startup
 *     file and linker script take the place of startup.c and mps2.ld.
 *  3. At the end of main(), in place of its loop:   gnomon_serve(&gnomon_the_model);
 *  4. Compile with -O2 or better, and -DGNOMON_VENDOR='"your name"'; for energy also -DGNOMON_ENERGY=1.
 *  5. Caches, flash prefetch and clocks are set up as they would be in a product, and are told with the result. */
#include "port.h"

#include "main.h"

extern UART_HandleTypeDef huart2;
extern TIM_HandleTypeDef htim2;

/* Cycles in a microsecond, which `layers` tells the host; adjust it to the clock that is configured. */
const uint32_t port_ticks_per_us = 80;

void port_init(uint32_t baud) {
  huart2.Init.BaudRate = baud;
  HAL_UART_Init(&huart2);
  HAL_TIM_Base_Start(&htim2);
  /* The counter of processor cycles belongs to the debug unit, which has to be on. */
  CoreDebug->DEMCR |= CoreDebug_DEMCR_TRCENA_Msk;
  DWT->CYCCNT = 0;
  DWT->CTRL |= DWT_CTRL_CYCCNTENA_Msk;
  port_energy_pin(1);
}

/* The library's reception ends early when noise on the line or a character too many is seen; it is begun anew, and a
 * host that loses a character by that repeats its command. */
char port_getchar(void) {
  uint8_t c;
  while (HAL_UART_Receive(&huart2, &c, 1, HAL_MAX_DELAY) != HAL_OK) {
  }
  return (char)c;
}

void port_write(const char *text, size_t size) {
  HAL_UART_Transmit(&huart2, (const uint8_t *)text, (uint16_t)size, HAL_MAX_DELAY);
}

uint32_t port_timestamp_us(void) { return htim2.Instance->CNT; }

uint32_t port_ticks(void) { return DWT->CYCCNT; }

void port_energy_pin(int level) {
  HAL_GPIO_WritePin(TIMESTAMP_GPIO_Port, TIMESTAMP_Pin, level ? GPIO_PIN_SET : GPIO_PIN_RESET);
}
