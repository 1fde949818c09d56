// Placeholder
import Simulation
